"""A tiny backbone and tiny pictures."""

import keras
import numpy as np
import pytest
from keras import layers


def tiny_backbone():
    return keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    )


@pytest.fixture
def backbone():
    return tiny_backbone()


@pytest.fixture(scope="session")
def make_model():
    """Return a function that makes a small SimCLR model, the same each time."""
    from keras_simclr import ProjectionHead, SimCLR

    def make(**arguments):
        keras.utils.set_random_seed(0)
        head = ProjectionHead(output_dim=8)
        return SimCLR(tiny_backbone(), projection_head=head, **{"seed": 1, **arguments})

    return make


@pytest.fixture(scope="session")
def pictures():
    """Return 24 smooth pictures of two kinds, uint8, (24, 12, 12, 3), and their labels."""
    rng = np.random.default_rng(3)
    labels = np.arange(24) % 2
    ramp = np.linspace(0, 200, 12)
    base = np.where(labels[:, None, None] == 0, ramp[None, :, None], ramp[None, None, :])
    noisy = base[..., None] * rng.uniform(0.5, 1, size=(24, 1, 1, 3)) + rng.uniform(
        0, 50, size=(24, 12, 12, 3)
    )
    return noisy.astype("uint8"), labels


@pytest.fixture(scope="module")
def pretrained(make_model, pictures):
    """Return one model for all tests of a file, since fine-tuning never changes it."""
    model = make_model()
    model.fit(pictures[0], verbose=0)
    return model
