"""Structure may change, numbers may not: the losses of short runs are those that were stored.

`python tests/training/test_twenty_steps.py` stores the losses of the present backend anew.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import ProjectionHead, SimCLR
from keras_simclr.optimizers import warmup_cosine

STORED = Path(__file__).parents[1] / "golden" / "twenty_steps.json"
RUNS = {
    "small views": {"image_size": 16},
    "large views with blur": {"image_size": (40, 36), "temperature": 0.5},
    "micro-batches": {"image_size": 16, "micro_batch_size": 4},
}


class LossOfEachStep(keras.callbacks.Callback):
    """Keep the loss of each step; Keras logs the mean over those of the epoch."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def losses_of(arguments):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 7, 6, 3)).repeat(6, axis=1).repeat(6, axis=2)
    images = np.clip(coarse + rng.integers(-30, 31, coarse.shape), 0, 255).astype("uint8")
    backbone = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("tanh"),
        ]
    )
    model = SimCLR(backbone, projection_head=ProjectionHead(8, output_dim=8), seed=1, **arguments)
    # The recipe's Muon enlarges differences between processors.
    model.compile(keras.optimizers.AdamW(warmup_cosine(1e-3, 20, 2), weight_decay=0.2))
    log = LossOfEachStep()
    model.fit(images, batch_size=8, epochs=4, verbose=0, callbacks=[log])
    return log.losses


@pytest.mark.parametrize("run", RUNS)
def test_the_losses_of_twenty_steps_are_the_stored_ones(run):
    stored = json.loads(STORED.read_text())[keras.backend.backend()][run]
    assert len(stored) == 20
    np.testing.assert_allclose(losses_of(RUNS[run]), stored, rtol=1e-5)


if __name__ == "__main__":
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    stored[keras.backend.backend()] = {run: losses_of(RUNS[run]) for run in RUNS}
    STORED.write_text(json.dumps(stored, indent=1) + "\n")
