"""Arithmetic in place against plain NumPy, eager and compiled."""

import keras
import numpy as np
import pytest

from keras_simclr.ops import in_place
from keras_simclr.ops.forms import form
from keras_simclr.ops.in_place import clip

A, B, C = np.random.default_rng(0).normal(size=(3, 2, 3, 4, 5)).astype("float32")
WEIGHT = np.float32([[[[0.25]]], [[[1.0]]]])  # of each image
CASES = {  # a function of A, B and C, which is not used again, its result, derivatives by A and C
    "abs_": (lambda a, b, c: in_place.abs_(c), np.abs(C), 0, np.sign(C)),
    "copy_sign_": (
        lambda a, b, c: in_place.copy_sign_(c * c, a),
        np.copysign(C * C, A),
        0,
        2 * C * np.sign(A),
    ),
    "add_multiple_": (lambda a, b, c: in_place.add_multiple_(c, a, 0.5), C + A / 2, 0.5, 1),
    "maximum_": (lambda a, b, c: in_place.maximum_(c, a), np.maximum(C, A), A > C, C > A),
    "minimum_": (lambda a, b, c: in_place.minimum_(c, a), np.minimum(C, A), A < C, C < A),
    "multiply_": (lambda a, b, c: in_place.multiply_(c, a), C * A, C, A),
    "add_over_": (lambda a, b, c: in_place.add_over_(a, b, c), A + B, 1, 0),
    "add_product_": (lambda a, b, c: in_place.add_product_(a, c, b), A + C * B, 1, B),
    "interpolate_": (
        lambda a, b, c: in_place.interpolate_(a, c, keras.ops.convert_to_tensor(WEIGHT)),
        A + (C - A) * WEIGHT,
        1 - WEIGHT,
        WEIGHT,
    ),
}
FOR_PLANES = [name for name in CASES if name not in ("abs_", "copy_sign_", "add_multiple_")]


@pytest.mark.parametrize(
    ("bounds", "expected"), [((0.0, 1.0), [0, 0, 0.5, 1]), ((0.0,), [0, 0, 0.5, 3])]
)
def test_values_are_clipped(bounds, expected, execute):
    values = np.array([-1, 0, 0.5, 3], "float32")
    assert execute(lambda values: clip(values, *bounds), values).tolist() == expected


def test_means_are_those_of_the_channels(execute):
    expected = A.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(execute(in_place.channel_means, A), expected, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_that_of_numpy(name, execute):
    function, expected, *_ = CASES[name]
    np.testing.assert_allclose(execute(function, A, B, C), expected, rtol=1e-6, atol=1e-6)


def test_a_weight_of_one_changes_nothing(execute):
    function, *_ = CASES["interpolate_"]
    np.testing.assert_array_equal(execute(function, 1e6 * A, B, C)[1], C[1])


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_flows_to_what_may_be_overwritten(name, gradient):
    function, *_, derivative = CASES[name]
    a, b = map(keras.ops.convert_to_tensor, (A, B))
    found = gradient(lambda c: keras.ops.sum(function(a, b, 1.0 * c) + 0.0 * c), C)
    np.testing.assert_allclose(found, np.broadcast_to(derivative, C.shape), atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_flows_to_the_other_arguments(name, gradient):
    function, _, derivative, _ = CASES[name]
    b, c = map(keras.ops.convert_to_tensor, (B, C))
    found = gradient(lambda a: keras.ops.sum(function(a, b, 1.0 * c) + 0.0 * a), A)
    np.testing.assert_allclose(found, np.broadcast_to(derivative, A.shape), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="only PyTorch overwrites")
@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("name", FOR_PLANES)
def test_only_the_planes_are_overwritten_and_only_on_a_cpu(name, device):
    function, expected, *_ = CASES[name]
    a, b, c = map(keras.ops.convert_to_tensor, (A, B, C))
    with form(device):
        function(a, b, c)
    np.testing.assert_array_equal(a, A)
    np.testing.assert_array_equal(b, B)
    np.testing.assert_allclose(c, expected if device == "cpu" else C, rtol=1e-6, atol=1e-6)
