"""Memory of a training step, measured and by formula.

    KERAS_BACKEND=tensorflow python benchmarks/memory.py [--parts views activations logits]
        [--networks small_resnet resnet18 resnet50] [--batches 32 64 128] [--sizes 1024 65536]

- Views. Formula: 2N images in float32. Measured: the peak while they are created.
- Activations. Formula: what a plain step keeps per view for the backward pass, the inputs of
  Conv2D and BatchNormalization and the outputs of ReLU, each tensor once. Measured: the peak of a
  step as `fit` makes it, then of one with Keras' own layers.
- The loss. Formula: ten times z and three times a chunk of logits. Measured: the peak of loss and
  gradient (by `nt_xent.py`).

Each measurement runs in a process of its own with two threads. For views and activations it is the
slope of the peak over their number, which leaves out what a process needs anyway.
"""

import argparse
import contextlib
import math
import statistics
import sys

import keras
from keras import layers
from memory_use import one_round, serve, started, stop
from nt_xent import DIMENSIONS, SIZES, alternate, start
from small_resnet import small_resnet
from step import compiled, random_images
from views import ours

from keras_simclr import SimCLR
from keras_simclr.losses.comparison import CHUNK_LOGITS, MIN_CHUNK
from keras_simclr.models.resnet import resnet_by_name
from keras_simclr.ops.fast_layers import fast_layers

VALUE = 4  # bytes of a float32
KIB, MIB = 2**10, 2**20
SIDES = {"small_resnet": 32, "resnet18": 32, "resnet50": 96}  # pixels
VIEWS = "views"


def network(name):
    """Return a network for images of its size as a functional model."""
    inputs = keras.Input((SIDES[name], SIDES[name], 3))
    if name == "small_resnet":
        return keras.models.clone_model(small_resnet(), input_tensors=inputs)
    make = resnet_by_name(name).for_view_size(SIDES[name], SIDES[name])
    return keras.Model(inputs, make(inputs))


def kept_values(model):
    """Return how many values per view the backward pass needs."""
    outputs = [layer.output for layer in model.layers if isinstance(layer, layers.ReLU)]
    readers = (layers.Conv2D, layers.BatchNormalization)
    inputs = [layer.input for layer in model.layers if isinstance(layer, readers)]
    unique = {id(tensor): tensor.shape[1:] for tensor in [*outputs, *inputs]}
    return sum(math.prod(shape) for shape in unique.values())


def view_maker(side, count):
    """Return a function that creates `count` views."""
    make = ours(keras.ops.convert_to_numpy(random_images(count, side)))
    return lambda: make(0) is None


def plain_step(name, batch, keras_layers=False):
    """Return a function that makes a plain training step, as `fit` does or with Keras' layers."""
    model = compiled(SimCLR, SIDES[name], network(name))
    images = random_images(batch, SIDES[name])

    def step():
        with contextlib.nullcontext() if keras_layers else fast_layers(model):
            return float(model.train_on_batch(images)[0])

    return step


def peak_of(name, count, *options):
    """Return the MiB that the second call adds to the process."""
    process = started(__file__, "--serve", name, count, *options)
    peak = [one_round(process)[1] for _ in range(2)][-1]
    stop(process)
    return peak


def bytes_per_image(name, counts, *options):
    """Return by how many bytes the peak grows per image."""
    peaks = [peak_of(name, count, *options) for count in counts]
    return MIB * statistics.linear_regression(counts, peaks).slope


def show(what, formula, measured, unit=KIB, name="KiB per view"):
    """Print a line."""
    print(
        f"{what:32} formula {formula / unit:9.1f} {name}, measured {measured / unit:9.1f}, "
        f"ratio {measured / formula:.2f}",
        flush=True,
    )


def compare_views(sides, batches):
    """Print the memory of a view of each size."""
    for side in sides:
        counts = [2 * batch for batch in batches]
        show(
            f"views, {side} px", VALUE * 3 * side**2, bytes_per_image(VIEWS, counts, "--side", side)
        )


def compare_activations(names, batches):
    """Print what each network keeps of a view for the backward pass."""
    for name in names:
        formula = VALUE * kept_values(network(name))
        show(f"{name}, {SIDES[name]} px", formula, bytes_per_image(name, batches) / 2)
        plain = bytes_per_image(name, batches, "--keras-layers") / 2
        show(f"{name}, with Keras' own layers", formula, plain)


def compare_logits(sizes):
    """Print the memory of the loss for each number of embeddings."""
    backend = keras.backend.backend()
    for size in sizes:
        chunk_size = min(size, max(MIN_CHUNK, CHUNK_LOGITS // size))
        formula = VALUE * size * (10 * DIMENSIONS + 3 * chunk_size)
        measured = alternate({size: start(f"ours, {backend}", size)}, 1)[size][0][1]
        show(f"loss, 2N = {size}", formula, MIB * measured, MIB, "MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = [VIEWS, "activations", "logits"]
    parser.add_argument("--parts", nargs="+", choices=known, default=known)
    parser.add_argument("--networks", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 96], help="of the views")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="2N of the logits")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--keras-layers", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        case, number = options.serve[0], int(options.serve[1])
        if case == VIEWS:
            serve(view_maker(options.side, number))
        else:
            serve(plain_step(case, number, options.keras_layers))
        sys.exit()
    print(keras.backend.backend())
    if VIEWS in options.parts:
        compare_views(options.sides, options.batches)
    if "activations" in options.parts:
        compare_activations(options.networks, options.batches)
    if "logits" in options.parts:
        compare_logits(options.sizes)
