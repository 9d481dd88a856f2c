"""Pretrain the small ResNet on 10,000 real CIFAR-10 images, and evaluate its features.

    KERAS_BACKEND=tensorflow python benchmarks/cifar10.py FOLDER [--epochs 20] [--seed 0] [--report]

FOLDER holds a folder of JPEGs for each class. Images 1 to 1,000 of each class (files in sorted
order) are used for pretraining, without labels, and as the bank of kNN and the linear probe. Images
1,001 to 1,500 are the test images on which recipes are chosen; `--report` tests on 1,501 to 2,000
instead. `--few` also fine-tunes with 1 % and 10 % of the labels, and trains from scratch.
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

from keras_simclr import LARS, SimCLR
from keras_simclr.evaluation import knn_accuracy, linear_probe
from keras_simclr.optimizers import warmup_cosine

BATCH_SIZE = 256
TEMPERATURE = 0.5
SCRATCH_RATES = (1e-3, 3e-3)
PER_CLASS = 1000, 1500, 2000  # where the images for pretraining, recipes and reports end
FEW_STEPS = 300  # default number of steps of `fine_tune`


def load(folder, first, last):
    """Return images `first` to `last` - 1 of each class and their labels."""
    images, labels = [], []
    for label, of_class in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(of_class.iterdir())[first:last]:
            images.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(label)
    return np.stack(images), np.array(labels)


class Evaluate(keras.callbacks.Callback):
    """Print kNN and linear accuracy after some epochs, and the speed of training until then."""

    def __init__(self, bank, test, epochs):
        super().__init__()
        self.bank, self.test, self.epochs = bank, test, epochs
        self.seconds = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop the clock, and evaluate after some epochs."""
        took = time.perf_counter() - self.began
        self.seconds += took if epoch else 0.0  # the first epoch compiles
        if epoch + 1 not in self.epochs:
            return
        row = {"epoch": epoch + 1, **{k: round(float(v), 4) for k, v in logs.items()}}
        row["images per second"] = round(len(self.bank[0]) * epoch / max(self.seconds, 1e-9))
        print(json.dumps({**row, **evaluate(self.model, self.bank, self.test)}), flush=True)


def evaluate(model, bank, test):
    """Return kNN (k=200, temperature 0.1) and linear accuracy of the features in per cent."""
    h_bank, h_test = (model.predict(images, verbose=0) for images, _ in (bank, test))
    linear = linear_probe(h_bank, bank[1]).score(h_test, test[1])
    k = min(200, len(h_bank))
    knn = knn_accuracy(h_bank, bank[1], h_test, test[1], k=k, temperature=0.1)
    return {"knn": round(100 * knn, 2), "linear": round(100 * linear, 2)}


def few_labels(model, untrained, bank, test, fraction):
    """Print accuracy after fine-tuning with a fraction of the labels, and from scratch."""
    per_class = round(fraction * PER_CLASS[0])
    chosen = np.concatenate([np.flatnonzero(bank[1] == c)[:per_class] for c in range(10)])
    labeled = bank[0][chosen], bank[1][chosen]

    def accuracy(model, **options):
        classifier = model.fine_tune(*labeled, num_classes=10, verbose=0, **options)
        return round(100 * classifier.evaluate(*test, verbose=0)[1], 2)

    row = {
        "labels": len(chosen),
        "fine-tuned": accuracy(model),
        "from scratch": max(
            accuracy(untrained(), optimizer=keras.optimizers.AdamW(warmup_cosine(rate, FEW_STEPS)))
            for rate in SCRATCH_RATES
        ),
    }
    print(json.dumps(row), flush=True)


def main(arguments=None):
    """Run one pretraining."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--stop-after", type=int, help="epochs of the schedule to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--sgd", type=float, nargs=2, metavar=("RATE", "DECAY"))
    parser.add_argument("--adamw", type=float, nargs=2, metavar=("RATE", "DECAY"))
    parser.add_argument("--lars", type=float, nargs=2, metavar=("RATE", "DECAY"))
    parser.add_argument("--warmup", type=float, default=0.0, help="fraction of the steps")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message="This model was not pretrained")

    bank = load(options.folder, 0, PER_CLASS[0])
    test = load(options.folder, *(PER_CLASS[1:] if options.report else PER_CLASS[:2]))
    keras.utils.set_random_seed(options.seed)

    def untrained():
        return SimCLR(small_resnet(), temperature=TEMPERATURE, seed=options.seed)

    model = untrained()
    steps = len(bank[0]) // BATCH_SIZE * options.epochs
    optimizer = chosen_optimizer(options, steps)
    if optimizer is not None:
        model.compile(optimizer)
    last = options.stop_after or options.epochs
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch + 1 == last)
    )
    model.fit(
        bank[0],
        batch_size=BATCH_SIZE,
        epochs=options.epochs,
        verbose=2,
        callbacks=[stop, Evaluate(bank, test, {5, 10, 20, last})],
    )
    if options.few:
        for fraction in (0.01, 0.1):
            few_labels(model, untrained, bank, test, fraction)


def chosen_optimizer(options, steps):
    """Return the optimizer that the command line asks for, or None for the recipe's."""

    def schedule(rate):
        return warmup_cosine(rate, steps, int(options.warmup * steps))

    if options.sgd:
        rate, decay = options.sgd
        return keras.optimizers.SGD(schedule(rate), momentum=0.9, weight_decay=decay)
    if options.adamw:
        rate, decay = options.adamw
        return keras.optimizers.AdamW(schedule(rate), weight_decay=decay)
    if options.lars:
        rate, decay = options.lars
        return LARS(schedule(rate), momentum=0.9, weight_decay=decay)
    return None


if __name__ == "__main__":
    main()
