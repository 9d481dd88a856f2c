"""Cost of the views in a pretraining step, compared with the same step on precomputed views.

    KERAS_BACKEND=tensorflow python benchmarks/step.py [--sizes 32 96] [--runs 7]

Both train the same small ResNet, head and loss with batches of 256; the second gets its 2N views
ready. Runs alternate; medians and the median ratio are printed.
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
def measure(size, runs):
    """Print both medians and their ratio for images of `size` pixels."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, size, size, 3)).astype("uint8")
    ours, precomputed = compiled(SimCLR, size), compiled(OnPrecomputedViews, size)
    views = keras.ops.convert_to_tensor(
        ours.augmenter(np.concatenate([images, images]), training=True)
    )
    images = keras.ops.convert_to_tensor(images)
    with fast_layers(ours), fast_layers(precomputed):
        pairs = [(seconds(ours, images), seconds(precomputed, views)) for _ in range(runs + 1)][1:]
    with_views, without = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{keras.backend.backend():10} {size:3} px: step {1e3 * with_views:7.0f} ms, "
        f"on precomputed views {1e3 * without:7.0f} ms, ratio {ratio:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    for pixels in options.sizes:
        measure(pixels, options.runs)
