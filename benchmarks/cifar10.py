"""Pretrain on real CIFAR-10 images, by default a small ResNet, and evaluate the features.

    KERAS_BACKEND=torch python benchmarks/cifar10.py FOLDER [--seed 0] [--report] [--few]
        [--epochs 20] [--images 10000] [--batch-size 256] [--width 32 | --backbone resnet18]
        [--views 2] [--size 32]
        [--muon RATE DECAY] [--adamw RATE DECAY] [--sgd RATE DECAY] [--lars RATE DECAY]
        [--warmup 0.1] [--beta 0.999] [--momentum 0.95] [--temperature T] [--decoupled]
        [--hidden D] [--output D] [--layers 2] [--crop 0.08] [--grayscale 0.2] [--strength 0.5]
        [--C 1.0]

FOLDER holds a folder of JPEGs for each class. Images 1 to 1,000 of each class (files in sorted
order), or `--images` of them, are used for pretraining, without labels, and as the bank of kNN and
the linear probe. Images 1,001 to 1,500 are the test images on which recipes are chosen; `--report`
tests on 1,501 to 2,000 instead. Settings that are not given are those that `SimCLR` and `fit`
choose. `--few` also compares fine-tuning on 1 % and 10 % of the labels with a linear probe and with
training from scratch, over `--draws` draws of the labels.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from small_resnet import small_resnet

from keras_simclr import LARS, ConvMuon, NTXentLoss, ProjectionHead, SimCLR, SimCLRAugmenter
from keras_simclr.evaluation import knn_accuracy, label_efficiency, linear_probe
from keras_simclr.optimizers import warmup_cosine

PER_CLASS = 1000, 1500, 2000  # where the images for pretraining, recipes and reports end


def load(folder, first, last, size=32):
    """Return images `first` to `last` - 1 of each class, enlarged to `size`, and their labels."""
    images, labels = [], []
    for label, of_class in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(of_class.iterdir())[first:last]:
            image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
            images.append(np.asarray(image))
            labels.append(label)
    return np.stack(images), np.array(labels)


def evaluate(model, bank, test, C=1.0):
    """Return kNN (k=200, temperature 0.1) and linear accuracy of the features in percent.

    With `C=None`, there is no linear accuracy.
    """
    h_bank, h_test = (model.predict(images, verbose=0) for images, _ in (bank, test))
    k = min(200, len(h_bank))
    knn = knn_accuracy(h_bank, bank[1], h_test, test[1], k=k, temperature=0.1)
    found = {"knn": round(100 * knn, 2)}
    if C is not None:
        linear = linear_probe(h_bank, bank[1], C=C).score(h_test, test[1])
        found["linear"] = round(100 * linear, 2)
    return found


def fine_tuned(model, bank, test, fraction):
    """Return the accuracy in percent after fine-tuning on a fraction of each class' labels."""
    (images, labels), per_class = bank, round(fraction * PER_CLASS[0])
    chosen = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(10)])
    classifier = model.fine_tune(images[chosen], labels[chosen], num_classes=10, verbose=0)
    return round(100 * classifier.evaluate(*test, verbose=0)[1], 2)


def new_model(options):
    """Return a model with the settings that the command line has."""
    keras.utils.set_random_seed(options.seed)
    settings = {"grayscale": options.grayscale, "strength": options.strength}
    settings |= {"scale": options.crop and (options.crop, 1.0)}
    given = {name: value for name, value in settings.items() if value is not None}
    head = ProjectionHead(options.hidden, options.output, options.layers)
    return SimCLR(
        options.backbone or small_resnet(width=options.width),
        projection_head=head,
        augmenter=SimCLRAugmenter(**given) if given else None,
        num_views=options.views,
        temperature=options.temperature,
        seed=options.seed,
    )


def chosen_optimizer(options, steps):
    """Return the optimizer that the command line asks for, or "auto" for the recipe's."""

    def schedule(rate):
        return warmup_cosine(rate, steps, int(options.warmup * steps))

    if options.muon:
        rate, decay = options.muon
        return ConvMuon(
            schedule(rate),
            weight_decay=decay,
            adam_weight_decay=decay,
            adam_beta_2=options.beta,
            momentum=options.momentum,
        )
    if options.adamw:
        rate, decay = options.adamw
        return keras.optimizers.AdamW(schedule(rate), weight_decay=decay, beta_2=options.beta)
    kind = keras.optimizers.SGD if options.sgd else LARS
    if options.sgd or options.lars:
        rate, decay = options.sgd or options.lars
        return kind(schedule(rate), momentum=0.9, weight_decay=decay)
    return "auto"


def run(options):
    """Pretrain, and print a row of what came out."""
    bank = load(options.folder, 0, PER_CLASS[0], options.size)
    bank = tuple(part[:: len(bank[0]) // options.images] for part in bank)
    test = load(options.folder, *(PER_CLASS[1:] if options.report else PER_CLASS[:2]), options.size)
    model = new_model(options)
    steps = len(bank[0]) // options.batch_size * options.epochs
    loss = NTXentLoss(options.temperature, decoupled=True) if options.decoupled else "auto"
    model.compile(chosen_optimizer(options, steps), loss=loss)
    began = time.perf_counter()
    history = model.fit(
        bank[0], batch_size=options.batch_size, epochs=options.epochs, verbose=0
    ).history
    seconds = time.perf_counter() - began
    row = {"seed": options.seed, "loss": round(history["loss"][-1], 4)}
    row["seconds"] = round(seconds)
    print(json.dumps(row | evaluate(model, bank, test, options.C)), flush=True)
    if options.few:
        found = label_efficiency(
            model, bank, test, labels=(0.01, 0.1), draws=options.draws, verbose=1
        )
        print(found)


def main(arguments=None):
    """Run one pretraining."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("epochs", 20), ("images", 10_000), ("batch-size", 256), ("width", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("views", 2), ("seed", 0), ("draws", 5), ("output", 128), ("layers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("report", "few", "decoupled"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--size", type=int, default=32, help="of the enlarged images, in pixels")
    parser.add_argument("--backbone", help="by name, instead of a small ResNet")
    parser.add_argument("--hidden", type=int)
    for name in ("temperature", "crop", "grayscale", "strength"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("muon", "adamw", "sgd", "lars"):
        parser.add_argument(f"--{name}", type=float, nargs=2, metavar=("RATE", "DECAY"))
    parser.add_argument("--C", type=float, default=1.0, help="of the linear probe")
    parser.add_argument("--warmup", type=float, default=0.1, help="fraction of the steps")
    parser.add_argument("--beta", type=float, default=0.999, help="beta_2 of AdamW and Muon")
    parser.add_argument("--momentum", type=float, default=0.95, help="of Muon")
    warnings.filterwarnings("ignore", message="This model was not pretrained")
    options = parser.parse_args(arguments)
    if options.decoupled and options.temperature is None:
        parser.error("--decoupled needs --temperature.")
    run(options)


if __name__ == "__main__":
    main()
