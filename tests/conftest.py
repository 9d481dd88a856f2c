"""What every test shares: seeds, the reference numbers of the authors' code, gradients."""

from pathlib import Path

import keras
import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def golden():
    """Return a function that opens a file of reference numbers by its name."""
    return lambda name: np.load(GOLDEN / f"{name}.npz", allow_pickle=False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def gradient():
    """Return a function that gives d function(array) / d array on any backend."""
    return _gradient


def _gradient(function, array):
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(function)(array))
    if backend == "tensorflow":
        import tensorflow as tf

        tensor = tf.constant(array)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return tape.gradient(value, tensor).numpy()
    tensor = keras.ops.convert_to_tensor(array).requires_grad_()
    function(tensor).backward()
    return tensor.grad.cpu().numpy()
