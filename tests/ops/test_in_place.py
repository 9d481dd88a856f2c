"""Arithmetic in place against plain NumPy, eager and compiled."""

import keras
import numpy as np
import pytest

from keras_simclr.ops import in_place
from keras_simclr.ops.in_place import clip

A, B, C = np.random.default_rng(0).normal(size=(3, 2, 3, 4, 5)).astype("float32")
WEIGHT = np.float32([[[[0.25]]], [[[1.0]]]])  # of each image
CASES = {  # a function of A, B and C, of which C is not used again, its result and derivative by C
    "abs_": (lambda a, b, c: in_place.abs_(c), np.abs(C), np.sign(C)),
    "copy_sign_": (
        lambda a, b, c: in_place.copy_sign_(c * c, a),
        np.copysign(C * C, A),
        2 * C * np.sign(A),
    ),
    "maximum_": (lambda a, b, c: in_place.maximum_(c, a), np.maximum(C, A), C > A),
    "minimum_": (lambda a, b, c: in_place.minimum_(c, a), np.minimum(C, A), C < A),
    "add_multiple_": (lambda a, b, c: in_place.add_multiple_(c, a, 0.5), C + A / 2, 1),
    "multiply_": (lambda a, b, c: in_place.multiply_(c, a), C * A, A),
    "add_over_": (lambda a, b, c: in_place.add_over_(a, b, c), A + B, 0),
    "add_product_": (lambda a, b, c: in_place.add_product_(a, c, b), A + C * B, B),
    "interpolate_": (
        lambda a, b, c: in_place.interpolate_(a, c, keras.ops.convert_to_tensor(WEIGHT)),
        A + (C - A) * WEIGHT,
        WEIGHT,
    ),
}


@pytest.mark.parametrize(
    ("bounds", "expected"), [((0.0, 1.0), [0, 0, 0.5, 1]), ((0.0,), [0, 0, 0.5, 3])]
)
def test_values_are_clipped(bounds, expected, execute):
    values = np.array([-1, 0, 0.5, 3], "float32")
    assert execute(lambda values: clip(values, *bounds), values).tolist() == expected


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_that_of_numpy(name, execute):
    function, expected, _ = CASES[name]
    np.testing.assert_allclose(execute(function, A, B, C), expected, rtol=1e-6, atol=1e-6)


def test_a_weight_of_one_changes_nothing(execute):
    function, *_ = CASES["interpolate_"]
    np.testing.assert_array_equal(execute(function, 1e6 * A, B, C)[1], C[1])


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_flows_to_what_may_be_overwritten(name, gradient):
    function, _, derivative = CASES[name]
    a, b = map(keras.ops.convert_to_tensor, (A, B))
    found = gradient(lambda c: keras.ops.sum(function(a, b, 1.0 * c) + 0.0 * c), C)
    np.testing.assert_allclose(found, np.broadcast_to(derivative, C.shape), atol=1e-6)
