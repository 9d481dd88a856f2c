"""What every test shares: seeds, the reference numbers of the authors' code, gradients."""

from pathlib import Path

import keras
import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True, scope="session")
def compiled_once(tmp_path_factory):
    """Let JAX compile what many tests have in common only once."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(autouse=True, scope="module")
def compiled_plainly(request):
    """Let JAX compile plainly what is computed once: it takes far longer than computing it.

    What is compiled to be fast is what test_augmentation_statistics.py looks at.
    """
    if keras.backend.backend() != "jax" or "statistics" in request.module.__name__:
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


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
