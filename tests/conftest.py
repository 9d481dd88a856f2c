"""Fixtures of all tests: seeds, reference numbers of the authors' code, gradients, a tiny model."""

import gc
import hashlib
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from web_server import serving

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


@pytest.fixture
def uncollected():
    """Keep Python from looking for cycles, so that only what nothing refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def eager(request):
    """Let TensorFlow run a few steps eagerly: compiling takes far longer than computing them.

    A module asks for it with `pytestmark`, and its tests of what differs in a graph, or that take
    many steps, ask for `compiled`.
    """
    if keras.backend.backend() != "tensorflow" or "compiled" in request.fixturenames:
        yield
        return
    import tensorflow as tf

    warnings.filterwarnings("ignore", "Even though .* does not apply to tf.data functions")
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled():
    """Except a test from `eager`."""


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
def md5():
    return lambda content: hashlib.md5(content).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """Return a `WebServer`, which serves `server.content` at `server.url`."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


@pytest.fixture
def gradient():
    """Return a function that computes d function(array) / d array on any backend."""
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


@pytest.fixture(name="tiny_backbone")
def tiny_backbone_fixture():
    """Return the function that makes the tiny backbone."""
    return tiny_backbone


@pytest.fixture(scope="session")
def make_model():
    """Return a function that makes a small SimCLR model, the same each time.

    Its views are crops, as other transforms take long to compile. `augmenter=None` has them all.
    """
    from keras_simclr import ProjectionHead, SimCLR, SimCLRAugmenter
    from keras_simclr.layers.presets import CROP_AND_FLIP

    def make(**arguments):
        keras.utils.set_random_seed(0)
        head = ProjectionHead(8, output_dim=8)
        if "augmenter" not in arguments:
            arguments["augmenter"] = SimCLRAugmenter(**CROP_AND_FLIP, seed=2)
        return SimCLR(tiny_backbone(), projection_head=head, **{"seed": 1, **arguments})

    return make


@pytest.fixture(scope="session")
def labeled_images():
    """Return 24 smooth images of two kinds, uint8, (24, 12, 12, 3), and their labels."""
    rng = np.random.default_rng(3)
    labels = np.arange(24) % 2
    ramp = np.linspace(0, 200, 12)
    base = np.where(labels[:, None, None] == 0, ramp[None, :, None], ramp[None, None, :])
    noisy = base[..., None] * rng.uniform(0.5, 1, size=(24, 1, 1, 3)) + rng.uniform(
        0, 50, size=(24, 12, 12, 3)
    )
    return noisy.astype("uint8"), labels


@pytest.fixture(scope="module")
def pretrained(make_model, labeled_images):
    """Return one model for all tests of a file, since fine-tuning never changes it."""
    model = make_model()
    model.compile(run_eagerly=keras.backend.backend() == "tensorflow")
    model.fit(labeled_images[0], verbose=0)
    return model
