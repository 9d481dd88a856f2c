"""Cost of a pretraining step with views made in it, beside the same step on ready-made views.

    KERAS_BACKEND=tensorflow python benchmarks/step.py [--sizes 32 96] [--runs 7]

Both steps train the same small ResNet, head and loss on the same device, batch 256; the second is
handed its 2N views. Runs alternate; medians and their ratio are printed.
"""

import argparse
import statistics
import time

import keras
import numpy as np
from small_resnet import small_resnet

from keras_simclr import SimCLR

BATCH_SIZE = 256


class OnReadyViews(SimCLR):
    """The same training on views that come ready-made, [all first views; all second views]."""

    def train_step(self, *args):
        """Take Keras' own step: the batch is the views."""
        return super(SimCLR, self).train_step(*args)


def compiled(model_class, size, backbone=None, **arguments):
    """Return a built and compiled model, of the small ResNet unless another is given."""
    model = model_class(backbone or small_resnet(), temperature=0.5, seed=0, **arguments)
    model.build((None, size, size, 3))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def seconds(model, batch):
    """Return how long one step takes, until its loss is known."""
    began = time.perf_counter()
    float(model.train_on_batch(batch)[0])
    return time.perf_counter() - began


def measure(size, runs):
    """Print both medians and their ratio for pictures of `size` pixels."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, size, size, 3)).astype("uint8")
    ours, ready = compiled(SimCLR, size), compiled(OnReadyViews, size)
    views = keras.ops.convert_to_tensor(
        ours.augmenter(np.concatenate([images, images]), training=True)
    )
    images = keras.ops.convert_to_tensor(images)
    pairs = [(seconds(ours, images), seconds(ready, views)) for _ in range(runs + 1)][1:]
    with_views, without = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{keras.backend.backend():10} {size:3} px: step {1e3 * with_views:7.0f} ms, "
        f"on ready-made views {1e3 * without:7.0f} ms, ratio {ratio:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    for pixels in options.sizes:
        measure(pixels, options.runs)
