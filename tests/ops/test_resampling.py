"""Weighted sums of lines, in every form, against NumPy loops."""

import numpy as np
import pytest

from keras_simclr.ops.interpolation import Taps
from keras_simclr.ops.resampling import MAX_TERMS, resample, resample_lines


def random_taps(rng, count, size, out_size, terms):
    """Return taps of which some reach outside, with weight zero."""
    first = rng.integers(1 - terms, size, (count, out_size))
    rows = first[..., None] + np.arange(terms)
    weights = np.where((rows >= 0) & (rows < size), rng.normal(size=rows.shape), 0)
    return Taps(first.astype("float32"), weights.astype("float32"))


def summed(lines, taps):
    """Return the sums of lines (N, size, ...), one by one."""
    count, size, *shape = lines.shape
    first, weights = (np.broadcast_to(part, (count, *part.shape[1:])) for part in taps)
    sums = np.zeros((count, first.shape[1], *shape))
    for image, line in np.ndindex(first.shape):
        for term, weight in enumerate(weights[image, line]):
            if weight:
                sums[image, line] += weight * lines[image, int(first[image, line]) + term]
    return sums


@pytest.mark.parametrize(
    "images_of_taps, size, out_size, terms",
    [(3, 9, 7, 4), (1, 6, 10, 4), (3, 5, 1, 2), (3, 60, 8, MAX_TERMS + 1)],
    ids=["odd", "the same for all images", "one line", "many terms"],
)
@pytest.mark.parametrize("dtype, shape", [("float32", (5,)), ("uint8", (2, 5))])
def test_lines_are_weighted_sums(execute, rng, images_of_taps, size, out_size, terms, dtype, shape):
    lines = rng.integers(0, 256, (3, size, *shape)).astype(dtype)
    taps = random_taps(rng, images_of_taps, size, out_size, terms)
    found = execute(lambda lines, *taps: resample_lines(lines, Taps(*taps)), lines, *taps)
    np.testing.assert_allclose(found, summed(lines.astype("float64"), taps), atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_resized_to_planes(execute, rng, channels):
    images = rng.integers(0, 256, (2, 8, 11, channels)).astype("uint8")
    rows, columns = random_taps(rng, 2, 8, 5, 4), random_taps(rng, 2, 11, 7, 4)
    found = execute(
        lambda images, *taps: resample(images, Taps(*taps[:2]), Taps(*taps[2:])),
        *(images, *rows, *columns),
    )
    lines = summed(images.astype("float64"), rows)  # (N, h, W, C)
    expected = summed(lines.swapaxes(1, 2), columns).transpose(0, 3, 2, 1)
    np.testing.assert_allclose(found, expected, atol=1e-2, rtol=1e-5)
