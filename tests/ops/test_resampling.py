"""Weighted sums of rows, in every form, against NumPy loops."""

import numpy as np
import pytest

from keras_simclr.ops.interpolation import Taps
from keras_simclr.ops.resampling import MAX_TERMS, resample, resample_axis


def random_taps(rng, count, size, out_size, terms):
    """Return taps of which some reach outside, with weight zero."""
    first = rng.integers(1 - terms, size, (count, out_size))
    rows = first[..., None] + np.arange(terms)
    weights = np.where((rows >= 0) & (rows < size), rng.normal(size=rows.shape), 0)
    return Taps(first.astype("float32"), weights.astype("float32"))


def summed(planes, taps):
    """Return the sums of the rows of planes (N, C, size, length), row by row."""
    count, channels, size, length = planes.shape
    first, weights = (np.broadcast_to(part, (count, *part.shape[1:])) for part in taps)
    sums = np.zeros((count, channels, first.shape[1], length))
    for image, row in np.ndindex(first.shape):
        for term, weight in enumerate(weights[image, row]):
            if weight:
                sums[image, :, row] += weight * planes[image, :, int(first[image, row]) + term]
    return sums


@pytest.mark.parametrize(
    "images_of_taps, size, out_size, terms",
    [(3, 9, 7, 4), (1, 6, 10, 4), (3, 5, 1, 2), (3, 60, 8, MAX_TERMS + 1)],
    ids=["odd", "the same for all images", "one row", "many terms"],
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_rows_are_weighted_sums(execute, rng, images_of_taps, size, out_size, terms, dtype):
    planes = rng.integers(0, 256, (3, 2, size, 5)).astype(dtype)
    taps = random_taps(rng, images_of_taps, size, out_size, terms)
    found = execute(lambda planes, *taps: resample_axis(planes, Taps(*taps)), planes, *taps)
    np.testing.assert_allclose(found, summed(planes.astype("float64"), taps), atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_resized_to_planes(execute, rng, channels):
    images = rng.integers(0, 256, (2, 8, 11, channels)).astype("uint8")
    rows, columns = random_taps(rng, 2, 8, 5, 4), random_taps(rng, 2, 11, 7, 4)
    found = execute(
        lambda images, *taps: resample(images, Taps(*taps[:2]), Taps(*taps[2:])),
        *(images, *rows, *columns),
    )
    lines = summed(images.transpose(0, 3, 1, 2).astype("float64"), rows)
    expected = summed(lines.swapaxes(2, 3), columns).swapaxes(2, 3)
    np.testing.assert_allclose(found, expected, atol=1e-2, rtol=1e-5)
