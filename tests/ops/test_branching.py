"""Work that differs between images against plain NumPy, eager and compiled."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.ops.branching import (
    apply_if_needed,
    apply_in_order,
    computed_apart,
    where_selected,
)
from keras_simclr.ops.compilation import compile_function
from keras_simclr.ops.orders import IMAGES_PER_ORDER


@pytest.fixture
def planes(rng):
    return rng.normal(size=(IMAGES_PER_ORDER, 3, 4, 5)).astype("float32")


STEPS = [lambda x, p: x + p[:, None, None, None], lambda x, p: x * 2.0, lambda x, p: -x]


def in_order(order, planes, parameters):
    results = []
    for indices, image, parameter in zip(order, planes, parameters, strict=True):
        for index in indices:
            image = [image + parameter, image * 2.0, -image][index]
        results.append(image)
    return np.stack(results)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_steps_of_a_chunk_are_applied_in_its_order(order, planes, rng, execute):
    orders = np.tile(np.array(order, "int32"), (len(planes), 1))
    parameters = rng.normal(size=len(planes)).astype("float32")
    found = execute(
        lambda order, planes, parameters: apply_in_order(order, STEPS, planes, parameters),
        orders,
        planes,
        parameters,
    )
    np.testing.assert_allclose(found, in_order(orders, planes, parameters), rtol=1e-5)


def test_images_of_a_chunk_may_differ_in_order_on_pytorch(planes, rng):
    if keras.backend.backend() != "torch":
        pytest.skip("other backends have one order per chunk")
    orders = np.array([(0, 1, 2), (2, 1, 0)] * 8, "int32")
    parameters = rng.normal(size=16).astype("float32")
    tensors = (ops.convert_to_tensor(array) for array in (orders, planes, parameters))
    orders_, planes_, parameters_ = tensors
    found = apply_in_order(orders_, STEPS, planes_, parameters_)
    expected = in_order(orders, planes, parameters)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(planes_), planes)


def to_images(planes):
    return ops.transpose(planes, (0, 2, 3, 1))


def scaled_images(planes, factor):
    return to_images(planes * factor[:, None, None, None])


@pytest.mark.parametrize(
    "selected",
    [[True] * 4, [False] * 4, [True, False, False, True], [True], [False]],
    ids=["all", "none", "some", "one image", "one other image"],
)
def test_the_function_is_applied_where_selected(selected, rng, execute):
    planes = rng.normal(size=(len(selected), 3, 4, 5)).astype("float32")
    factor = rng.normal(size=len(selected)).astype("float32")
    found = execute(
        lambda selected, planes, factor: where_selected(
            selected, scaled_images, to_images, planes, factor
        ),
        np.array(selected),
        planes,
        factor,
    )
    expected = planes * np.where(selected, factor, 1.0)[:, None, None, None]
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), rtol=1e-6)


def test_planes_are_not_overwritten_where_selected(rng):
    expected = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    planes = ops.convert_to_tensor(expected.copy())
    selected, factor = ops.array([True, False]), ops.array([2.0, 3.0])
    where_selected(selected, scaled_images, to_images, planes, factor)
    np.testing.assert_array_equal(ops.convert_to_numpy(planes), expected)


def negated(planes, needed):
    return ops.where(needed[:, None, None, None], -planes, planes)


@pytest.mark.parametrize("needed", [[True], [False], [True, False]])
def test_the_function_is_applied_if_needed(needed, rng, execute):
    planes = rng.normal(size=(len(needed), 3, 4, 5)).astype("float32")
    found = execute(
        lambda needed, planes: apply_if_needed(needed, negated, lambda x: x, planes, needed),
        np.array(needed),
        planes,
    )
    np.testing.assert_array_equal(found, planes * np.where(needed, -1, 1)[:, None, None, None])


def test_a_single_image_that_does_not_need_the_function_skips_it():
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch compiles nothing")
    apply = compile_function(lambda n, x: apply_if_needed(n, negated, ops.zeros_like, x, n))
    planes = ops.ones((1, 3, 4, 5))
    found = [ops.convert_to_numpy(apply(ops.array([n]), planes)) for n in (True, False)]
    assert [image.mean() for image in found] == [-1, 0]


@pytest.mark.parametrize("finite", [True, False])
def test_what_is_computed_apart_is_right_or_nan(finite, rng, execute):
    values = rng.normal(size=(3, 4)).astype("float32")
    found = execute(
        lambda values, finite: computed_apart(lambda: values * 2.0, finite, (3, 4)),
        values,
        np.float32(1.0 if finite else np.inf),
    )
    np.testing.assert_array_equal(found, values * 2.0 if finite else np.full((3, 4), np.nan))


def test_what_is_computed_apart_stays_a_branch_when_compiled():
    if keras.backend.backend() != "jax":
        pytest.skip("shown on JAX, which prints what XLA compiled")
    import jax

    def apart(values):
        return computed_apart(lambda: values * 2.0, values[0], values.shape) + 1.0

    compiled = jax.jit(apart).lower(np.ones(1000, "float32")).compile().as_text()
    assert "conditional(" in compiled
