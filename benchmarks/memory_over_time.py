"""Memory that a process holds after many steps, many `fit` of a model, and many models.

    KERAS_BACKEND=tensorflow python benchmarks/memory_over_time.py [steps fits models]

Prints the MiB that the process holds, and its objects, as training continues: what grows is a leak.
Takes a few minutes on two cores.
"""

import gc
import sys
from pathlib import Path

import keras
import numpy as np
from memory_use import MIB

from keras_simclr import SimCLR

STEPS_PER_EPOCH, EPOCHS, FITS, MODELS = 250, 8, 20, 30
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype("uint8")


def held():
    """Return the bytes of RAM that the process holds after collecting garbage."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def report(what, number):
    """Print what the process holds after a number of steps, of fits or of models."""
    held_now, objects = held(), len(gc.get_objects())
    print(f"{what} {number:5d}  {held_now / MIB:8.1f} MiB  {objects:8d} objects", flush=True)


def new_model():
    """Return a small model."""
    backbone = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(16, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    )
    return SimCLR(backbone, seed=0)


class EveryEpoch(keras.callbacks.Callback):
    """Report after every epoch."""

    def on_epoch_end(self, epoch, logs=None):
        """Report after an epoch."""
        report("steps", STEPS_PER_EPOCH * (epoch + 1))


def steps():
    """Train one model for 2,000 steps."""
    plan = {"epochs": EPOCHS, "steps_per_epoch": STEPS_PER_EPOCH}
    options = {**plan, "batch_size": 16, "verbose": 0}
    new_model().fit(IMAGES, callbacks=[EveryEpoch()], **options)


def fits():
    """Fit one model 20 times."""
    model = new_model()
    for number in range(FITS):
        model.fit(IMAGES, batch_size=16, verbose=0)
        report("fits", number + 1)


def models():
    """Make and fit 30 models, one at a time."""
    for number in range(MODELS):
        new_model().fit(IMAGES, batch_size=16, verbose=0)
        report("models", number + 1)


if __name__ == "__main__":
    for name in sys.argv[1:] or ("steps", "fits", "models"):
        {"steps": steps, "fits": fits, "models": models}[name]()
