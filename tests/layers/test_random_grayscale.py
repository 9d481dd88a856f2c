import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import RandomGrayscale
from keras_simclr.ops.compilation import compile_function


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_gray_images_have_the_pixels_of_the_authors(golden):
    reference = golden("color")
    images = reference["image"][None]
    found = numbers(RandomGrayscale().apply(images, np.array([True]))) / 255
    np.testing.assert_allclose(found[0], reference["grayscale"], atol=1e-3)


def test_only_the_selected_images_become_gray(images):
    selected = np.array([True, False, False, True, False])
    found = numbers(RandomGrayscale().apply(images, selected))
    spread = np.ptp(found, axis=-1).max(axis=(1, 2))
    assert (spread[selected] < 1e-3).all()
    np.testing.assert_allclose(found[~selected], images[~selected], atol=1e-3)


def test_large_images_become_gray_one_by_one(rng):
    small = rng.integers(0, 256, size=(3, 5, 5, 3)).astype("float32")
    large, selected = small.repeat(42, axis=1).repeat(42, axis=2), np.array([True, False, True])
    apply = compile_function(RandomGrayscale().apply)
    found = numbers(apply(*map(keras.ops.convert_to_tensor, (large, selected))))
    gray = small[selected] @ np.float32([[0.2989], [0.587], [0.114]])
    np.testing.assert_allclose(found[selected, ::42, ::42], gray.repeat(3, axis=-1), atol=0.05)
    np.testing.assert_allclose(found[~selected], large[~selected], atol=1e-3)


@pytest.mark.parametrize("factor", [0.2, 0.7])
def test_images_are_selected_with_the_probability_given(check_rate, factor):
    layer = RandomGrayscale(factor, seed=3)
    check_rate(numbers(layer.sample(40_000, 8, 8)), factor)


def test_a_fifth_of_the_images_is_selected_by_default(check_rate):
    check_rate(numbers(RandomGrayscale(seed=3).sample(40_000, 8, 8)), 0.2)


def test_each_image_is_selected_independently():
    selected = numbers(RandomGrayscale(0.5, seed=3).sample(40_000, 8, 8)).astype("float64")
    assert abs(np.corrcoef(selected[1:], selected[:-1])[0, 1]) < 6 / np.sqrt(len(selected))


def test_with_probability_1_every_image_is_gray(images):
    found = numbers(RandomGrayscale(1.0)(images))
    assert np.ptp(found, axis=-1).max() < 1e-3


def test_with_probability_0_images_do_not_change(images):
    found = numbers(RandomGrayscale(0.0)(images))
    np.testing.assert_allclose(found, images, atol=1e-3)


def test_without_training_images_do_not_change(images):
    found = numbers(RandomGrayscale(1.0)(images, training=False))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_without_three_channels_do_not_change(channels):
    images = np.random.default_rng(1).integers(0, 256, size=(2, 9, 7, channels), dtype="uint8")
    np.testing.assert_allclose(numbers(RandomGrayscale(1.0)(images)), images, atol=1e-3)


@pytest.mark.parametrize("factor", [-0.1, 1.01, float("nan")])
def test_a_wrong_probability_raises(factor):
    received = f"`factor` must .*Received: factor={factor}"
    with pytest.raises(ValueError, match=received):
        RandomGrayscale(factor)


@pytest.mark.once
@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    channels=st.sampled_from([1, 3, 3, 5]),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
    selected=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_any_image_is_finite_and_in_range(size, channels, value_range, selected):
    lower, upper = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([lower, (lower + upper) / 2, upper], size=(3, *size, channels)).astype(
        "float32"
    )
    before = images.copy()
    layer = RandomGrayscale(value_range=value_range)
    found = numbers(layer.apply(images, np.array(selected)))
    assert found.shape == images.shape and found.dtype == np.float32
    margin = 1e-5 * (upper - lower)
    assert lower - margin <= found.min() and found.max() <= upper + margin
    np.testing.assert_array_equal(images, before)
