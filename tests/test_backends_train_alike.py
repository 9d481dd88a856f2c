"""The same weights and views give the same first ten steps on TensorFlow, JAX and PyTorch.

`python tests/test_backends_train_alike.py` stores the losses of the present backend, which should
be TensorFlow.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_simclr import ProjectionHead, SimCLR

STORED = Path(__file__).parent / "golden" / "ten_steps.json"


def train():
    """Return the losses of ten steps on views without random draws."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (16, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    images = np.clip(coarse + rng.integers(-30, 31, coarse.shape), 0, 255).astype("uint8")
    backbone = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("tanh"),
            layers.Conv2D(16, 3, strides=2),
            layers.Activation("gelu"),
        ]
    )
    blur = layers.AveragePooling2D(3, strides=1, padding="same")
    views = layers.Rescaling(1.0), keras.Sequential([layers.Rescaling(1.0), blur])
    head = ProjectionHead(16, output_dim=8)
    model = SimCLR(backbone, projection_head=head, augmenter=views, temperature=0.2, seed=1)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(scale=0.2, size=weight.shape))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model.fit(images, batch_size=16, epochs=10, verbose=0).history["loss"]


def test_the_first_ten_steps_are_those_of_another_backend():
    stored = json.loads(STORED.read_text())
    assert len(stored) == 10 and max(stored) - min(stored) > 0.1
    np.testing.assert_allclose(train(), stored, rtol=1e-3)


if __name__ == "__main__":
    STORED.write_text(json.dumps(train()) + "\n")
