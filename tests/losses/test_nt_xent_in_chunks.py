"""NT-Xent in chunks of anchors against the dense form, eager and compiled."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.losses import NTXentLoss, contrastive_accuracy, nt_xent

PAIRS, DIMENSIONS = 13, 6


def once(chunk_size):
    return pytest.param(chunk_size, marks=pytest.mark.once)


def dense(z, temperature, weights=1.0, decoupled=False):
    """Compute the weighted sum of the losses of the pairs from all logits at once."""
    z = ops.normalize(z, axis=-1)
    left_out = np.eye(len(z), dtype="float32")
    if decoupled:
        left_out = left_out + np.roll(left_out, PAIRS, axis=0)
    logits = ops.matmul(z, ops.transpose(z)) / temperature
    logits = logits - ops.convert_to_tensor(1e9 * left_out)
    positives = ops.roll(ops.sum(z * ops.roll(z, PAIRS, axis=0), axis=1), PAIRS) / temperature
    losses = ops.logsumexp(logits, axis=1) - positives
    return ops.sum(ops.mean(ops.reshape(losses, (2, -1)), axis=0) * weights)


def compiled(function):
    """Return `function` compiled as in a training step, for batches of unknown size."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, input_signature=[tf.TensorSpec((None, DIMENSIONS))])
    return function


@pytest.fixture
def z(rng):
    return rng.normal(size=(2 * PAIRS, DIMENSIONS)).astype("float32")


@pytest.mark.parametrize("chunk_size", [5, None, "auto", *map(once, (1, 13, 26, 100))])
def test_loss_and_gradient_are_those_of_the_dense_form(chunk_size, z, gradient):
    loss = NTXentLoss(0.2, chunk_size=chunk_size)
    in_chunks = compiled(lambda z: loss(*ops.split(z, 2)))
    assert float(in_chunks(z)) == pytest.approx(float(dense(z, 0.2)) / PAIRS, rel=1e-5)
    expected = gradient(lambda z: dense(z, 0.2) / PAIRS, z)
    found = gradient(in_chunks, z)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("chunk_size", [5, None, *map(once, (1, "auto"))])
@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_the_decoupled_loss_and_its_gradient_are_those_of_the_dense_form(
    chunk_size, temperature, z, gradient
):
    loss = NTXentLoss(temperature, chunk_size=chunk_size, decoupled=True)
    in_chunks = compiled(lambda z: loss(*ops.split(z, 2)))
    wanted = float(dense(z, temperature, decoupled=True)) / PAIRS
    assert float(in_chunks(z)) == pytest.approx(wanted, rel=1e-5)
    expected = gradient(lambda z: dense(z, temperature, decoupled=True) / PAIRS, z)
    found = gradient(in_chunks, z)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_gradient_of_weighted_pairs_is_that_of_the_dense_form(z, gradient, rng):
    weights = ops.convert_to_tensor(rng.uniform(size=PAIRS).astype("float32"))

    def in_chunks(z):
        return ops.sum(nt_xent(*ops.split(z, 2), 0.2, chunk_size=4) * weights)

    expected = gradient(lambda z: dense(z, 0.2, weights), z)
    found = gradient(compiled(in_chunks), z)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("reduction", ["sum", "none", "sum_over_batch_size"])
def test_the_loss_with_accuracy_has_the_same_reduction(reduction, z):
    loss = NTXentLoss(0.2, reduction=reduction)
    both = ops.split(ops.convert_to_tensor(z), 2)
    np.testing.assert_allclose(
        ops.convert_to_numpy(loss.with_accuracy(*both)[0]), ops.convert_to_numpy(loss(*both))
    )


@pytest.mark.parametrize("chunk_size", [1, 5, None])
def test_the_accuracy_does_not_depend_on_the_chunks(chunk_size, z):
    z_a, z_b = z[:PAIRS], 0.6 * z[:PAIRS] + 0.4 * z[PAIRS:]
    expected = []
    unit = np.concatenate([z_a, z_b])
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    similarity = unit @ unit.T
    for row in range(2 * PAIRS):
        others = np.delete(similarity[row], row)
        expected.append(similarity[row, (row + PAIRS) % (2 * PAIRS)] >= others.max())
    found = ops.convert_to_numpy(contrastive_accuracy(z_a, z_b, chunk_size=chunk_size))
    assert 0 < sum(expected) < 2 * PAIRS
    np.testing.assert_array_equal(found, np.array(expected, "float32"))
    together = NTXentLoss(0.1, chunk_size=chunk_size).with_accuracy(z_a, z_b)[1]
    np.testing.assert_array_equal(ops.convert_to_numpy(together), found)


def test_no_tensor_of_all_logits_is_created():
    """At 2N = 8192 all logits take 268 MB; 256 anchors and what they are compared with 4.5 MB."""
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX lists the shapes of all tensors")
    import jax

    z = np.zeros((8192, 4), "float32")
    text = str(jax.make_jaxpr(jax.value_and_grad(lambda z: NTXentLoss()(*ops.split(z, 2))))(z))
    assert "8192,8192" not in text
    assert f"256,{4096 + 256}" in text


def test_the_loss_of_distant_views_is_finite_at_a_low_temperature(gradient):
    """exp(-2 / temperature) alone would be 0 in float32."""
    z = np.array([[1, 0], [-1, 0], [1, 0.01], [-1, 0.01]], "float32")
    loss = NTXentLoss(0.001)
    assert float(loss(*ops.split(ops.convert_to_tensor(z), 2))) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient(lambda z: loss(*ops.split(z, 2)), z)).all()
