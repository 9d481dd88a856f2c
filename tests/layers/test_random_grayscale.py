import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import RandomGrayscale


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_grey_pictures_have_the_pixels_of_the_authors(golden):
    reference = golden("color")
    images = reference["image"][None]
    found = numbers(RandomGrayscale().apply(images, np.array([True]))) / 255
    np.testing.assert_allclose(found[0], reference["grayscale"], atol=1e-3)


def test_only_the_chosen_pictures_become_grey(pictures):
    chosen = np.array([True, False, False, True, False])
    found = numbers(RandomGrayscale().apply(pictures, chosen))
    spread = np.ptp(found, axis=-1).max(axis=(1, 2))
    assert (spread[chosen] < 1e-3).all()
    np.testing.assert_allclose(found[~chosen], pictures[~chosen], atol=1e-3)


@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_as_many_pictures_are_chosen_as_asked_for(check_share, probability):
    layer = RandomGrayscale(probability, seed=3)
    check_share(numbers(layer.sample(40_000, 8, 8)), probability)


def test_a_fifth_of_the_pictures_is_chosen_by_default(check_share):
    check_share(numbers(RandomGrayscale(seed=3).sample(40_000, 8, 8)), 0.2)


def test_each_picture_is_chosen_by_itself():
    chosen = numbers(RandomGrayscale(0.5, seed=3).sample(40_000, 8, 8)).astype("float64")
    assert abs(np.corrcoef(chosen[1:], chosen[:-1])[0, 1]) < 6 / np.sqrt(len(chosen))


def test_with_probability_1_every_picture_is_grey(pictures):
    found = numbers(RandomGrayscale(1.0)(pictures))
    assert np.ptp(found, axis=-1).max() < 1e-3


def test_with_probability_0_pictures_stay_as_they_are(pictures):
    found = numbers(RandomGrayscale(0.0)(pictures))
    np.testing.assert_allclose(found, pictures, atol=1e-3)


def test_without_training_pictures_stay_as_they_are(pictures):
    found = numbers(RandomGrayscale(1.0)(pictures, training=False))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pictures)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_pictures_than_coloured_ones_stay_as_they_are(channels):
    images = np.random.default_rng(1).integers(0, 256, size=(2, 9, 7, channels), dtype="uint8")
    np.testing.assert_allclose(numbers(RandomGrayscale(1.0)(images)), images, atol=1e-3)


@pytest.mark.parametrize("probability", [-0.1, 1.01, float("nan")])
def test_a_wrong_probability_is_refused(probability):
    received = f"`probability` must .*Received: probability={probability}"
    with pytest.raises(ValueError, match=received):
        RandomGrayscale(probability)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    channels=st.sampled_from([1, 3, 3, 5]),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
    chosen=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_any_picture_stays_finite_and_in_range(size, channels, value_range, chosen):
    low, high = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([low, (low + high) / 2, high], size=(3, *size, channels)).astype("float32")
    before = images.copy()
    layer = RandomGrayscale(value_range=value_range)
    found = numbers(layer.apply(images, np.array(chosen)))
    assert found.shape == images.shape and found.dtype == np.float32
    margin = 1e-5 * (high - low)
    assert low - margin <= found.min() and found.max() <= high + margin
    np.testing.assert_array_equal(images, before)
