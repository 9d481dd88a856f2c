"""Images, and comparisons of draws with their expected distribution."""

import keras
import numpy as np
import pytest

STANDARD_ERRORS = 6


@pytest.fixture
def images():
    """Return 5 images with edges and smooth parts, uint8, (5, 28, 22, 3)."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, size=(5, 7, 11, 3)).repeat(4, axis=1).repeat(2, axis=2)
    fine = rng.integers(-30, 31, size=(5, 28, 22, 3))
    return np.clip(coarse + fine, 0, 255).astype("uint8")


@pytest.fixture
def check_rate():
    """Return a function that fails unless booleans are true with a `probability`."""

    def check(happened, probability):
        error = np.sqrt(probability * (1 - probability) / happened.size)
        assert abs(happened.mean() - probability) < STANDARD_ERRORS * error

    return check


@pytest.fixture
def check_uniform():
    """Return a function that fails unless values are drawn from U(lower, upper).

    By the inequality of Dvoretzky, Kiefer and Wolfowitz, the distance of distribution functions
    exceeds d with a chance of at most 2 exp(-2 n d^2): here 1e-8.
    """

    def check(values, lower, upper):
        values = np.sort(keras.ops.convert_to_numpy(values))
        count = len(values)
        expected = (values - lower) / (upper - lower)
        below, up_to = np.arange(count) / count, np.arange(1, count + 1) / count
        distance = max((expected - below).max(), (up_to - expected).max())
        assert values.min() >= lower and values.max() <= upper
        assert distance < np.sqrt(np.log(2e8) / (2 * count))

    return check
