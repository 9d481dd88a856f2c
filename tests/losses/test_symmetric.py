"""NT-Xent of each two embeddings once, against every anchor with all others."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.losses import NTXentLoss, comparison, symmetric

pytestmark = pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow compares every anchor with all"
)


@pytest.fixture
def z(rng, monkeypatch):
    monkeypatch.setattr(symmetric, "CHUNK_SIZE", 4)
    monkeypatch.setattr(symmetric, "MIN_PAIRS", 8)
    return rng.normal(size=(48, 6)).astype("float32")


def compared(z, gradient, weights=None, chunk_size="auto", **options):
    """Return loss, accuracy and the gradient, compiled."""
    loss = NTXentLoss(chunk_size=chunk_size, **{"temperature": 0.2, **options})

    def both(z):
        views = ops.split(z, 2)
        if weights is None:
            return loss.with_accuracy(*views)
        return ops.sum(loss.call(*views) * weights), views[0]

    if keras.backend.backend() == "jax":
        import jax

        both = jax.jit(both)
    value, accuracy = both(ops.convert_to_tensor(z))
    return [float(value), ops.convert_to_numpy(accuracy), gradient(lambda z: both(z)[0], z)]


@pytest.mark.parametrize("options", [{}, {"decoupled": True}, {"temperature": 0.05}], ids=str)
def test_loss_accuracy_and_gradient_are_those_of_all_anchors(options, z, gradient):
    z[24:] = 0.5 * z[:24] + 0.5 * z[24:]
    found = compared(z, gradient, **options)
    expected = compared(z, gradient, chunk_size=5, **options)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])
    assert 0 < found[1].sum() < 48
    np.testing.assert_allclose(found[2], expected[2], atol=1e-5 * np.abs(expected[2]).max())


def test_pairs_may_have_weights(z, gradient, rng):
    weights = ops.convert_to_tensor(rng.uniform(size=24).astype("float32"))
    found = compared(z, gradient, weights=weights)
    expected = compared(z, gradient, weights=weights, chunk_size=5)
    np.testing.assert_allclose(found[2], expected[2], atol=1e-5 * np.abs(expected[2]).max())


@pytest.mark.parametrize("case", ["temperature", "normalize", "odd", "few", "chunk_size", "used"])
def test_only_what_is_precise_and_divides_into_chunks_is_compared_so(case, z, monkeypatch):
    called = []

    def counted(*args):
        called.append(1)
        return symmetric.compare_all(*args)

    monkeypatch.setattr(comparison, "compare_all", counted)
    options = {"temperature": 0.03} if case == "temperature" else {"temperature": 0.2}
    options.update(
        {"normalize": {"normalize": False}, "chunk_size": {"chunk_size": 8}}.get(case, {})
    )
    count = {"odd": 38, "few": 8}.get(case, 48)
    NTXentLoss(**options).with_accuracy(*ops.split(ops.convert_to_tensor(z[:count]), 2))
    assert bool(called) == (case == "used")
