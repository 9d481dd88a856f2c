import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import CenterCropAndResize, RandomResizedCrop
from keras_simclr.layers.random_resized_crop import Crop


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def in_a_model(layer, images):
    return keras.Sequential([layer]).predict(images, verbose=0)


@pytest.mark.parametrize("source, size", [("a", 64), ("b", 96)])
def test_the_center_has_the_pixels_of_the_authors(golden, source, size):
    reference = golden("eval_crop")
    found = in_a_model(CenterCropAndResize(size), reference[f"source_{source}"][None]) / 255
    np.testing.assert_allclose(found[0], reference[f"{source}_{size}"], atol=1e-3)


def test_an_enlarged_center_has_the_pixels_of_the_authors(golden):
    reference = golden("eval_crop")
    found = in_a_model(CenterCropAndResize(224), reference["source_b"][None]) / 255
    np.testing.assert_allclose(found[0, ::2, ::2], reference["b_224_thinned"], atol=1e-3)


def test_small_images_without_a_crop_have_the_pixels_of_the_authors(golden):
    reference = golden("eval_crop")
    found = in_a_model(CenterCropAndResize(32, proportion=1.0), reference["source_32"][None]) / 255
    np.testing.assert_allclose(found[0], reference["c_32_nocrop"], atol=1e-3)


def test_the_box_has_the_aspect_ratio_of_the_output(golden):
    """Of 120 x 100 pixels, 0.875 of the width is 88, and so the height is 44."""
    image = golden("eval_crop")["source_a"][None]
    crop = Crop(*(np.full(1, side, "float32") for side in (38, 6, 44, 88)), np.array([False]))
    by_hand = RandomResizedCrop((48, 96)).apply(image, crop)
    expected = np.clip(numbers(by_hand), 0, 255)
    np.testing.assert_allclose(numbers(CenterCropAndResize((48, 96))(image)), expected, atol=1e-2)


def test_the_whole_image_at_its_own_size_does_not_change(images):
    found = numbers(CenterCropAndResize((28, 22), proportion=1.0)(images))
    np.testing.assert_allclose(found, images, atol=1e-3)


def test_an_odd_margin_is_larger_above_and_on_the_left(images):
    """Of 28 x 22 pixels, 19 x 19; as in the authors' code, half of the margin is rounded up."""
    found = numbers(CenterCropAndResize(19)(images))
    np.testing.assert_allclose(found, images[:, 5:24, 2:21], atol=1e-3)


def test_values_are_clipped():
    edge = np.zeros((1, 8, 8, 1), "uint8")
    edge[:, :, 4:] = 255
    found = numbers(CenterCropAndResize(24)(edge))
    assert found.min() == 0 and found.max() == pytest.approx(255, abs=1e-4)


def test_the_output_shape_is_known_without_a_call():
    images = keras.Input((28, 22, 3))
    assert tuple(CenterCropAndResize((12, 30))(images).shape) == (None, 12, 30, 3)


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"image_size": 0}, "`image_size` must .*Received: image_size=0"),
        ({"image_size": (8,)}, r"`image_size` must .*Received: image_size=\(8,\)"),
        ({"proportion": 1.1}, "`proportion` must .*Received: proportion=1.1"),
        ({"proportion": 0}, "`proportion` must .*Received: proportion=0"),
        ({"proportion": -0.5}, "`proportion` must .*Received: proportion=-0.5"),
        ({"value_range": (1, 0)}, r"`value_range` must .*Received: value_range=\(1, 0\)"),
    ],
)
def test_a_wrong_argument_raises(arguments, received):
    with pytest.raises(ValueError, match=received):
        CenterCropAndResize(**{"image_size": 8, **arguments})


@pytest.mark.parametrize(
    "arguments", [{"image_size": 4, "proportion": 0.01}, {"image_size": (4, 200)}]
)
def test_the_box_has_at_least_one_pixel(images, arguments):
    found = numbers(CenterCropAndResize(**arguments)(images))
    assert np.isfinite(found).all()


@pytest.mark.once
@settings(max_examples=2, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(12, 40), st.integers(12, 40)),
    out=st.tuples(st.integers(6, 40), st.integers(6, 40)),
    channels=st.integers(1, 5),
    proportion=st.floats(0.5, 1.0),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
)
def test_any_center_is_finite_and_in_range(size, out, channels, proportion, value_range):
    lower, upper = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([lower, upper], size=(2, *size, channels)).astype("float32")
    before = images.copy()
    found = in_a_model(CenterCropAndResize(out, proportion, value_range), images)
    assert found.shape == (2, *out, channels) and found.dtype == np.float32
    assert np.isfinite(found).all()
    margin = 1e-5 * (upper - lower)
    assert lower - margin <= found.min() and found.max() <= upper + margin
    np.testing.assert_array_equal(images, before)
