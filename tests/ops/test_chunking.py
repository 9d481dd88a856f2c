"""Chunks of images, in every form, against plain NumPy, eager and compiled."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.ops.chunking import CACHED_VALUES, map_chunks
from keras_simclr.ops.orders import IMAGES_PER_ORDER


@pytest.fixture
def images(rng):
    return rng.normal(size=(37, 4, 5, 3)).astype("float32")


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
