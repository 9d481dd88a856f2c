"""Every form of the same computation against plain NumPy, eager and compiled."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.ops.chunking import (
    CACHED_VALUES,
    apply_in_order,
    clip,
    map_chunks,
    where_selected,
)
from keras_simclr.ops.orders import IMAGES_PER_ORDER


@pytest.fixture
def images(rng):
    return rng.normal(size=(37, 4, 5, 3)).astype("float32")


@pytest.fixture
def planes(rng):
    return rng.normal(size=(IMAGES_PER_ORDER, 3, 4, 5)).astype("float32")


def add_factor(images, parameters):
    factor, nothing = parameters
    assert nothing is None
    return images + factor[:, None, None, None]


SMALL, MEDIUM, LARGE = 60, CACHED_VALUES // 4, 2 * CACHED_VALUES


@pytest.mark.parametrize("values_per_image", [SMALL, MEDIUM, LARGE])
def test_chunks_of_images_have_their_own_parameters(values_per_image, images, rng, execute):
    factor = rng.normal(size=37).astype("float32")
    found = execute(
        lambda images, factor: map_chunks(add_factor, images, (factor, None), values_per_image),
        images,
        factor,
    )
    np.testing.assert_allclose(found, images + factor[:, None, None, None], rtol=1e-6)


def test_chunks_may_change_the_shape_of_the_images(images, execute):
    found = execute(
        lambda images: map_chunks(lambda images, _: images[:, ::2, :, :1], images, None, MEDIUM),
        images,
    )
    np.testing.assert_array_equal(found, images[:, ::2, :, :1])


@pytest.mark.parametrize("values_per_image", [SMALL, MEDIUM, LARGE])
def test_all_images_of_a_chunk_have_the_same_order(values_per_image, execute):
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch applies several orders in one chunk")
    order = np.arange(37) // IMAGES_PER_ORDER

    def spread(images, order):
        same = ops.max(order) == ops.min(order)
        return ops.zeros_like(images) + ops.cast(same, "float32")

    images = np.zeros((32, 4, 5, 3), "float32")
    found = execute(
        lambda images, order: map_chunks(spread, images, order, values_per_image),
        images,
        order[:32],
    )
    assert found.min() == 1.0


def test_small_images_are_processed_in_few_chunks_and_large_ones_alone(images):
    if keras.backend.backend() != "torch":
        pytest.skip("the sizes of chunks are seen on PyTorch")
    sizes = []

    def record(images, _):
        sizes.append(len(images))
        return images

    for values_per_image in (SMALL, CACHED_VALUES // 16, MEDIUM, LARGE):
        map_chunks(record, images, None, values_per_image)
    assert sizes == [37, 16, 16, 5, *[4] * 9, 1, *[1] * 37]


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


@pytest.mark.parametrize(
    "selected", [[True] * 4, [False] * 4, [True, False, False, True]], ids=["all", "none", "some"]
)
def test_the_function_is_applied_where_selected(selected, rng, execute):
    planes = rng.normal(size=(4, 3, 4, 5)).astype("float32")
    factor = rng.normal(size=4).astype("float32")

    def scaled(planes, factor):
        return ops.transpose(planes * factor[:, None, None, None], (0, 2, 3, 1))

    def unchanged(planes):
        return ops.transpose(planes, (0, 2, 3, 1)) + 0.0

    found = execute(
        lambda selected, planes, factor: where_selected(
            selected, scaled, unchanged, planes, factor
        ),
        np.array(selected),
        planes,
        factor,
    )
    expected = planes * np.where(selected, factor, 1.0)[:, None, None, None]
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("bounds", "expected"), [((0.0, 1.0), [0, 0, 0.5, 1]), ((0.0,), [0, 0, 0.5, 3])]
)
def test_values_are_clipped(bounds, expected, execute):
    values = np.array([-1, 0, 0.5, 3], "float32")
    assert execute(lambda values: clip(values, *bounds), values).tolist() == expected
