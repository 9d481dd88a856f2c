"""Pretrain the small ResNet on CIFAR-10 with this package and with lightly, and compare.

    python -m venv peers && peers/bin/pip install -r benchmarks/requirements-peers.txt
    python benchmarks/end_to_end.py FOLDER --peers peers/bin/python [--epochs 20] [--seeds 0 1 2]
        [--report] [--few] [--equal-time] [--only NAME ...] [--views 2]
        [--rate 0.06] [--decay 5e-4] [--temperature 0.5]

FOLDER holds a folder of JPEGs for each class; `cifar10.py` says which are used for what. Every
contestant trains the same network on them in a process of its own, one after the other, each with
two threads. Ours use what `fit` chooses. lightly uses the recipe of its CIFAR-10 benchmark: SGD of
rate 0.06 x batch / 128, momentum 0.9, weight decay 5e-4, a cosine, temperature 0.5, its transform
without blur, in two worker processes; `--rate`, `--decay` and `--temperature` are for a search.

All are then evaluated alike, with this package: kNN (k = 200), a linear probe and, with `--few`,
fine-tuning on 1 % and 10 % of the labels. Seconds are those of the whole training, with
compilation; the memory is the peak of the process that trains, without lightly's workers. With
`--equal-time` ours also train for as many epochs as fit into the time that lightly took.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from memory_use import MIB, peak, reset_peak, started

PEER = "lightly"
OURS = ("tensorflow", "jax", "torch")
FRACTIONS = (0.01, 0.1)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what lightly normalizes by


def train_ours(images, epochs, seed, options):
    """Pretrain with this package; return seconds and the arrays of the encoder by name."""
    import keras
    from small_resnet import small_resnet

    from keras_simclr import SimCLR

    keras.utils.set_random_seed(seed)
    model = SimCLR(small_resnet(), seed=seed, num_views=options.views)
    began = time.perf_counter()
    model.fit(images, batch_size=options.batch_size, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - began
    return seconds, {
        f"{name}.{number}": array
        for name, layer in named_layers(model.encoder).items()
        for number, array in enumerate(layer.get_weights())
    }


def train_lightly(images, epochs, seed, options):
    """Pretrain with lightly; return seconds and the arrays of the encoder by Keras' names."""
    import torch
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    torch.manual_seed(seed)
    torch.set_num_threads(2)

    class Images(torch.utils.data.Dataset):
        transform = SimCLRTransform(input_size=images.shape[1], cj_strength=0.5, gaussian_blur=0.0)

        def __len__(self):
            return len(images)

        def __getitem__(self, index):
            return self.transform(Image.fromarray(images[index]))

    loader = torch.utils.data.DataLoader(
        Images(),
        options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )
    network, pairs = torch_small_resnet(torch)
    head = SimCLRProjectionHead(128, 128, 128)
    criterion = NTXentLoss(options.temperature)
    optimizer = torch.optim.SGD(
        [*network.parameters(), *head.parameters()],
        lr=options.rate * options.batch_size / 128,
        momentum=0.9,
        weight_decay=options.decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    began = time.perf_counter()
    for _ in range(epochs):
        for first, second in loader:
            z = head(network(torch.cat([first, second])))
            loss = criterion(*z.chunk(2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - began
    return seconds, keras_arrays(pairs)


def torch_small_resnet(torch):
    """Return the network of `small_resnet.py` in PyTorch, up to h, and its parts by name.

    A part is a convolution and its normalization.
    """
    nn, pairs = torch.nn, {}

    def convolution(name, channels, filters, size=3, stride=1):
        layer = nn.Conv2d(channels, filters, size, stride, size // 2, bias=False)
        nn.init.kaiming_normal_(layer.weight)
        pairs[name] = nn.Sequential(layer, nn.BatchNorm2d(filters))
        return pairs[name]

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            name = f"block_{filters}"
            self.first = convolution(f"{name}_first", channels, filters, stride=stride)
            self.second = convolution(f"{name}_second", filters, filters)
            self.shortcut = nn.Identity()
            if stride > 1:
                self.shortcut = convolution(f"{name}_shortcut", channels, filters, 1, stride)

        def forward(self, x):
            return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))

    layers = [convolution("stem", 3, 32), nn.ReLU()]
    channels = 32
    for filters, stride in ((32, 1), (64, 2), (128, 2)):
        layers.append(Block(channels, filters, stride))
        channels = filters
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return network.to(memory_format=torch.channels_last), pairs


def keras_arrays(pairs):
    """Return the arrays of `torch_small_resnet` by the names and in the layout of Keras."""
    arrays = {}
    for name, (convolution, norm) in pairs.items():
        arrays[f"{name}.0"] = convolution.weight.detach().numpy().transpose(2, 3, 1, 0)
        parts = norm.weight, norm.bias, norm.running_mean, norm.running_var
        for number, part in enumerate(parts):
            arrays[f"{name}_norm.{number}"] = part.detach().numpy()
    return arrays


def named_layers(encoder):
    """Return the layers of an encoder of Keras that have weights, by name."""
    from keras import layers

    from keras_simclr.keras_internals import flatten_layers

    kinds = layers.Conv2D, layers.BatchNormalization
    return {layer.name: layer for layer in flatten_layers(encoder) if isinstance(layer, kinds)}


def serve(name, options):
    """Train a contestant; print seconds and MiB, and save the weights to a file."""
    with np.load(options.folder) as data:
        images = data["images"]
    reset_peak()
    train = train_lightly if name == PEER else train_ours
    seconds, arrays = train(images, options.epochs, options.seeds[0], options)
    np.savez(options.weights, **arrays)
    print(json.dumps([seconds, peak() / MIB]), flush=True)


def trained(name, images, weights, epochs, seed, options):
    """Train a contestant in a process of its own; return seconds and MiB."""
    passed = [images, "--serve", name, "--weights", weights, "--epochs", epochs, "--seeds", seed]
    for key in ("batch_size", "views", "rate", "decay", "temperature"):
        passed += [f"--{key.replace('_', '-')}", getattr(options, key)]
    python = options.peers if name == PEER else sys.executable
    environment = {} if name == PEER else {"KERAS_BACKEND": name}
    process = started(__file__, *passed, python=python, **environment)
    lines, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(lines.splitlines()[-1])


def loaded(name, weights, size):
    """Return a model with the weights of a contestant in its encoder."""
    import keras
    from small_resnet import small_resnet

    from keras_simclr import SimCLR

    keras.utils.set_random_seed(0)
    if name == PEER:
        scale = [1 / 255 / deviation for deviation in DEVIATION]
        offset = [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
        network = small_resnet(scale, offset, symmetric_padding=True)
    else:
        network = small_resnet()
    model = SimCLR(network, seed=0)
    model.build((None, size, size, 3))
    with np.load(weights) as arrays:
        for key, layer in named_layers(model.encoder).items():
            layer.set_weights([arrays[f"{key}.{i}"] for i in range(len(layer.weights))])
    return model


def compare(options):
    """Train and evaluate all contestants with every seed, and print a row for each."""
    from cifar10 import PER_CLASS, evaluate, fine_tuned, load

    bank = load(options.folder, 0, PER_CLASS[0])
    test = load(options.folder, *(PER_CLASS[1:] if options.report else PER_CLASS[:2]))
    names = [name for name in (PEER, *OURS) if name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        images, weights = Path(folder, "images.npz"), Path(folder, "weights.npz")
        np.savez(images, images=bank[0])

        def row(name, epochs, seed):
            seconds, mib = trained(name, images, weights, epochs, seed, options)
            model = loaded(name, weights, bank[0].shape[1])
            found = {"contestant": name, "seed": seed, "epochs": epochs}
            found |= {"seconds": round(seconds), "MiB": round(mib)}
            found["images per second"] = round(len(bank[0]) * epochs / seconds)
            found |= evaluate(model, bank, test)
            for fraction in FRACTIONS if options.few else ():
                found[f"{fraction:.0%} labels"] = fine_tuned(model, bank, test, fraction)
            print(json.dumps(found), flush=True)
            return seconds

        for seed in options.seeds:
            took = {name: row(name, options.epochs, seed) for name in names}
            for name in names if options.equal_time else ():
                epochs = int(options.epochs * took[PEER] / took[name])
                if name != PEER and epochs != options.epochs:
                    row(name, max(epochs, 1), seed)


def main(arguments=None):
    """Compare, or be one of those that are compared."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", help="Python of the environment of lightly")
    parser.add_argument("--only", nargs="+", choices=[PEER, *OURS], default=[PEER, *OURS])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--views", type=int, default=2, help="views of each image, for ours")
    parser.add_argument("--report", action="store_true", help="test on the images for reports")
    parser.add_argument("--few", action="store_true", help="also fine-tune on few labels")
    parser.add_argument("--equal-time", action="store_true")
    parser.add_argument("--rate", type=float, default=0.06, help="lightly's, for a batch of 128")
    parser.add_argument("--decay", type=float, default=5e-4, help="lightly's weight decay")
    parser.add_argument("--temperature", type=float, default=0.5, help="lightly's")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options)
        return
    if options.peers is None:
        options.only = [name for name in options.only if name != PEER]
    if options.equal_time and PEER not in options.only:
        parser.error("--equal-time needs lightly: pass --peers.")
    warnings.filterwarnings("ignore", message="This model was not pretrained")
    compare(options)


if __name__ == "__main__":
    main()
