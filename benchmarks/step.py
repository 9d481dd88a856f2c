"""Time of a pretraining step, compared with one on precomputed views, or with Keras' own layers.

    KERAS_BACKEND=tensorflow python benchmarks/step.py [--sizes 32 96] [--runs 7]
    KERAS_BACKEND=torch python benchmarks/step.py --layers [--network resnet18]

Both steps train the same small ResNet, or `--network`, the same head and loss with batches of 256.
The second one gets its 2N views ready; with `--layers`, it computes the layers as Keras does,
without `fast_layers`. Runs alternate; medians and the median ratio are printed.
"""

import argparse
import statistics
import time

import keras
import numpy as np
from small_resnet import small_resnet

from keras_simclr import SimCLR
from keras_simclr.ops.fast_layers import fast_layers
from keras_simclr.ops.host_memory import freed_memory_kept
from keras_simclr.training.trainer import Trainer

BATCH_SIZE = 256


class OnPrecomputedViews(SimCLR):
    """The same training on precomputed views, [all first views; all second views]."""

    def call(self, views, training=False):
        """Return z of both views of each image, (N, 2, D)."""
        z = self.projection_head(self.encoder(views, training=training), training=training)
        return keras.ops.stack(keras.ops.split(z, 2), axis=1)

    def train_step(self, *args):
        """Make Keras' own step on a batch of views."""
        return super(Trainer, self).train_step(*args)


def compiled(model_class, size, backbone=None, **arguments):
    """Return a built and compiled model, of the small ResNet unless a backbone is given."""
    model = model_class(backbone or small_resnet(), temperature=0.5, seed=0, **arguments)
    model.build((None, size, size, 3))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def seconds(model, batch):
    """Return the seconds of one step, until its loss is known."""
    began = time.perf_counter()
    float(model.train_on_batch(batch)[0])
    return time.perf_counter() - began


@freed_memory_kept()  # as in `fit`
def compare_views(size, runs, network=None):
    """Print the time of a step, and of one on precomputed views, for images of `size` pixels."""
    ours, precomputed = (compiled(kind, size, network) for kind in (SimCLR, OnPrecomputedViews))
    images = random_images(BATCH_SIZE, size)
    twice = keras.ops.concatenate([images, images])
    views = keras.ops.convert_to_tensor(ours.augmenter(twice, training=True))
    with fast_layers(ours), fast_layers(precomputed):
        pairs = [(seconds(ours, images), seconds(precomputed, views)) for _ in range(runs + 1)]
    show(size, pairs[1:], "on precomputed views")


@freed_memory_kept()  # as in `fit`
def compare_layers(size, runs, network=None):
    """Print the time of a step, and of one with Keras' own layers, for images of `size` pixels."""
    ours, plain = (compiled(SimCLR, size, network) for _ in range(2))
    images = random_images(BATCH_SIZE, size)

    def pair():
        with fast_layers(ours):
            fast = seconds(ours, images)
        return fast, seconds(plain, images)

    show(size, [pair() for _ in range(runs + 1)][1:], "with Keras' own layers")


def random_images(count, size):
    """Return random images as a uint8 tensor of shape (count, size, size, 3)."""
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3))
    return keras.ops.convert_to_tensor(images.astype("uint8"))


def show(size, pairs, other):
    """Print the medians of pairs of seconds, and the median ratio."""
    ours, others = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{keras.backend.backend():10} {size:3} px: step {1e3 * ours:7.0f} ms, "
        f"{other} {1e3 * others:7.0f} ms, ratio {ratio:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--network", help="name of a network, instead of the small ResNet")
    parser.add_argument("--layers", action="store_true", help="compare with Keras' own layers")
    options = parser.parse_args()
    compare = compare_layers if options.layers else compare_views
    for pixels in options.sizes:
        compare(pixels, options.runs, options.network)
