"""The Newton-Schulz iteration against a plain one in float64."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.ops.forms import form
from keras_simclr.ops.newton_schulz import orthogonalize

COEFFICIENTS = 3.4445, -4.775, 2.0315


def plain(matrix, steps):
    a, b, c = COEFFICIENTS
    matrix = matrix / np.linalg.norm(matrix)
    for _ in range(steps):
        gram = matrix.T @ matrix
        matrix = matrix @ (a * np.eye(len(gram)) + b * gram + c * gram @ gram)
    return matrix


def matrix_of_condition(rng, shape, condition):
    size = min(shape)
    left, right = (np.linalg.qr(rng.normal(size=(length, size)))[0] for length in shape)
    return left * np.geomspace(1, 1 / condition, size) @ right.T


@pytest.mark.parametrize(
    "condition, device, tolerance",
    # The smallest singular values have few of the 8 bits of bfloat16.
    [
        (10, "cpu", 1e-5),
        (1e3, "cpu", 2e-3),
        (1e5, "cpu", 2e-3),
        (10, "gpu", 0.08),
        (1e3, "gpu", 0.3),
    ],
)
@pytest.mark.parametrize("shape", [(72, 16), (16, 72), (24, 24), (9, 1)])
def test_it_equals_the_plain_iteration(shape, condition, device, tolerance, rng, execute):
    matrix = matrix_of_condition(rng, shape, condition)
    with form(device):
        found = execute(lambda x: orthogonalize(x, COEFFICIENTS, 5), matrix.astype("float32"))
    expected = plain(matrix, 5)
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("steps, tolerance", [(3, 1e-3), (5, 5e-3), (6, 5e-3), (10, 0.05)])
@pytest.mark.parametrize("rank", [1, 10, 16])
def test_errors_stay_small_for_few_and_many_steps_and_singular_matrices(
    rank, steps, tolerance, rng
):
    matrix = rng.normal(size=(96, rank)) @ rng.normal(size=(rank, 16))
    found = orthogonalize(ops.convert_to_tensor(matrix, "float32"), COEFFICIENTS, steps)
    expected = plain(matrix, steps)
    error = np.linalg.norm(ops.convert_to_numpy(found) - expected)
    assert error < tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("floatx", ["float16", "float64"])
def test_it_computes_in_float32_whatever_the_default(floatx, rng):
    matrix = rng.normal(size=(48, 8))
    default = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        found = orthogonalize(ops.convert_to_tensor(matrix, "float32"), COEFFICIENTS, 5)
    finally:
        keras.config.set_floatx(default)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(found), plain(matrix, 5), atol=1e-4)


def test_a_zero_matrix_stays_zero_and_no_step_only_scales():
    zero = ops.zeros((4, 2))
    assert not ops.convert_to_numpy(orthogonalize(zero, COEFFICIENTS, 5)).any()
    scaled = orthogonalize(ops.convert_to_tensor([[3.0], [4.0]]), COEFFICIENTS, 0)
    np.testing.assert_allclose(ops.convert_to_numpy(scaled), [[0.6], [0.8]], rtol=1e-5)
