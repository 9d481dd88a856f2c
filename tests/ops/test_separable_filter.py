"""Filters of rows and columns, in every form, against SciPy."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from keras_simclr.ops.separable_filter import filter_planes, prepare_filter


def kernels(rng, count, taps):
    """Return positive symmetric kernels whose weights add up to 1."""
    half = rng.uniform(0.1, 1, (count, taps // 2 + 1))
    kernel = np.concatenate([half, half[:, -2::-1]], axis=1)
    return (kernel / kernel.sum(1, keepdims=True)).astype("float32")


def expected_images(planes, kernel, normalized):
    images = []
    for image, weights in zip(planes.transpose(0, 2, 3, 1), kernel, strict=True):
        for axis in (0, 1):
            sums = correlate1d(image, weights, axis, mode="constant")
            inside = correlate1d(np.ones(image.shape), weights, axis, mode="constant")
            image = sums / inside if normalized else sums
        images.append(image)
    return np.array(images)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(
    "height, width, channels, taps",
    [(7, 6, 3, 5), (6, 9, 1, 3), (4, 5, 2, 13), (1, 3, 3, 3), (5, 5, 3, 1)],
    ids=["odd height", "one channel", "wider than the image", "one row", "one pixel"],
)
def test_planes_are_filtered(execute, rng, height, width, channels, taps, normalized):
    planes = rng.normal(size=(2, channels, height, width)).astype("float32")
    kernel = kernels(rng, 2, taps)

    def filtered(planes, kernel):
        sizes = height, width
        return filter_planes(planes, *(prepare_filter(kernel, size, normalized) for size in sizes))

    found = execute(filtered, planes, kernel)
    expected = expected_images(planes.astype("float64"), kernel, normalized)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("sigma", [0.3, 0.9, 1.2, 2.0])
def test_a_wide_kernel_may_have_few_weights_that_count(execute, rng, sigma, normalized):
    planes = rng.normal(size=(1, 3, 30, 30)).astype("float32")
    kernel = np.exp(-(np.arange(-11, 12)[None] ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype("float32")

    def filtered(planes, kernel):
        return filter_planes(planes, *[prepare_filter(kernel, 30, normalized)] * 2)

    expected = expected_images(planes.astype("float64"), kernel, normalized)
    np.testing.assert_allclose(execute(filtered, planes, kernel), expected, atol=1e-6)


def test_no_weight_is_subnormal(execute):
    kernel = np.exp(-(np.arange(-11, 12)[None] ** 2) / (2 * 0.3**2)).astype("float32")
    kernel /= kernel.sum()
    assert 0 < kernel[kernel > 0].min() < np.finfo("float32").tiny
    weights = execute(lambda kernel: prepare_filter(kernel, 30, True)[0], kernel)
    assert weights[weights > 0].min() > 1e-10
