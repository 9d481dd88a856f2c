import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import RandomGaussianBlur

DRAWS = 40_000


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def blurred(images, sigmas, **arguments):
    sigmas = np.broadcast_to(sigmas, len(images)).astype("float32")
    return numbers(RandomGaussianBlur(**arguments).apply(images, sigmas))


def light(height, width, row, column):
    """Return a black image with one pixel of 1."""
    image = np.zeros((1, height, width, 1), "float32")
    image[0, row, column] = 1
    return image


def bell(sigma, radius):
    """Return the weights of a Gaussian kernel of 2 radius + 1 taps."""
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def reference_images(golden, size):
    reference = golden("batch_blur")
    image = reference[f"input_{size}"]
    if image.dtype == np.uint8:
        image = image.astype("float32") / 255
    sigmas = reference["sigmas"]
    return image[None].repeat(len(sigmas), axis=0), sigmas, reference[f"outputs_{size}"]


@pytest.mark.parametrize("size", [32, 96])
def test_with_a_border_of_zeros_pixels_are_those_of_the_authors(golden, size):
    images, sigmas, expected = reference_images(golden, size)
    found = blurred(images, sigmas, border="zeros", value_range=(0, 1))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("size, radius", [(32, 1), (96, 4)])
def test_away_from_the_border_pixels_are_those_of_the_authors(golden, size, radius):
    images, sigmas, expected = reference_images(golden, size)
    found = blurred(images, sigmas, value_range=(0, 1))
    inner = slice(radius, -radius)
    np.testing.assert_allclose(found[:, inner, inner], expected[:, inner, inner], atol=1e-3)


def test_an_image_of_one_color_does_not_change():
    plain = np.full((2, 41, 33, 3), 200, "uint8")
    np.testing.assert_allclose(blurred(plain, [0.7, 2.0]), plain, atol=1e-2)


def test_only_pixels_inside_the_image_have_a_weight():
    kernel = bell(1.5, 2)
    found = blurred(light(44, 40, 20, 0), 1.5, value_range=(0, 1))[0, 20, :3, 0]
    inside = [kernel[2:].sum(), kernel[1:].sum(), 1.0]
    expected = kernel[2] * kernel[2:] / inside
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_border_of_zeros_darkens():
    plain = np.full((1, 41, 33, 3), 200, "uint8")
    assert blurred(plain, 2.0, border="zeros")[0, 0, 0, 0] < 110


@pytest.mark.parametrize("height, width, radius", [(20, 31, 1), (39, 24, 1), (100, 24, 5)])
def test_the_kernel_is_as_wide_as_a_tenth_of_the_height(height, width, radius):
    found = blurred(light(height, width, height // 2, width // 2), 1.4, value_range=(0, 1))
    expected = np.zeros((height, width))
    rows = slice(height // 2 - radius, height // 2 + radius + 1)
    columns = slice(width // 2 - radius, width // 2 + radius + 1)
    expected[rows, columns] = np.outer(bell(1.4, radius), bell(1.4, radius))
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("kernel_size, radius", [(3, 1), (7, 3)])
def test_the_kernel_has_the_size_given(kernel_size, radius):
    image = light(50, 24, 25, 12)
    found = blurred(image, 1.4, kernel_size=kernel_size, value_range=(0, 1))
    expected = np.zeros((50, 24))
    rows = slice(25 - radius, 25 + radius + 1)
    columns = slice(12 - radius, 12 + radius + 1)
    expected[rows, columns] = np.outer(bell(1.4, radius), bell(1.4, radius))
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("border", ["renormalize", "zeros"])
def test_a_kernel_may_be_larger_than_the_image(border):
    image = light(6, 5, 3, 2)
    found = blurred(image, 2.0, kernel_size=41, border=border, value_range=(0, 1))[0, ..., 0]
    rows, columns = (bell(2.0, 20)[20 - place :][:size] for place, size in ((3, 6), (2, 5)))
    if border == "zeros":
        np.testing.assert_allclose(found, np.outer(rows, columns), atol=1e-5)
    else:
        assert found.max() < 1 and found.argmax() != 0


def test_a_kernel_of_one_pixel_changes_nothing(images):
    np.testing.assert_allclose(blurred(images, 2.0, kernel_size=1), images, atol=1e-3)


def test_images_of_less_than_20_pixels_are_not_blurred():
    images = np.random.default_rng(0).integers(0, 256, size=(2, 19, 40, 3), dtype="uint8")
    np.testing.assert_allclose(blurred(images, 2.0), images, atol=1e-3)


def test_an_image_that_is_not_selected_does_not_change(images):
    sigmas = np.array([0.0, 1.0, 0.0, 2.0, 0.0])
    found = blurred(images, sigmas)
    np.testing.assert_allclose(found[sigmas == 0], images[sigmas == 0], atol=1e-3)
    assert (np.abs(found - images).mean(axis=(1, 2, 3))[sigmas > 0] > 1).all()


@pytest.mark.parametrize("sigma", [(0.1, 2.0), (1.0, 1.5)])
def test_sigma_is_uniform_within_its_limits(check_uniform, sigma):
    drawn = RandomGaussianBlur(1.0, sigma=sigma, seed=5).sample(DRAWS, 96, 96)
    check_uniform(drawn, *np.float32(sigma))


def test_the_limits_of_the_paper_are_the_default(check_uniform):
    drawn = RandomGaussianBlur(1.0, seed=5).sample(DRAWS, 96, 96)
    check_uniform(drawn, np.float32(0.1), np.float32(2.0))


def test_sigma_does_not_depend_on_the_probability(check_uniform):
    drawn = numbers(RandomGaussianBlur(0.3, seed=5).sample(DRAWS, 96, 96))
    check_uniform(drawn[drawn > 0], np.float32(0.1), np.float32(2.0))


@pytest.mark.parametrize("factor", [0.1, 0.7])
def test_images_are_blurred_with_the_probability_given(check_rate, factor):
    drawn = numbers(RandomGaussianBlur(factor, seed=5).sample(DRAWS, 96, 96))
    check_rate(drawn > 0, factor)


def test_half_of_the_images_are_blurred_by_default(check_rate):
    check_rate(numbers(RandomGaussianBlur(seed=5).sample(DRAWS, 96, 96)) > 0, 0.5)


def test_each_image_has_its_own_sigma():
    drawn = numbers(RandomGaussianBlur(1.0, seed=5).sample(DRAWS, 96, 96))
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 6 / np.sqrt(DRAWS)


def test_with_probability_0_images_do_not_change(images):
    np.testing.assert_allclose(numbers(RandomGaussianBlur(0.0)(images)), images, atol=1e-3)


def test_with_probability_1_every_image_is_blurred(images):
    layer = RandomGaussianBlur(1.0, sigma=(1.0, 2.0))
    found = numbers(layer(images))
    assert (np.abs(found - images).mean(axis=(1, 2, 3)) > 1).all()


def test_without_training_images_do_not_change(images):
    found = numbers(RandomGaussianBlur(1.0)(images, training=False))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"factor": 1.5}, "`factor` must .*Received: factor=1.5"),
        ({"factor": -0.5}, "`factor` must .*Received: factor=-0.5"),
        ({"kernel_size": 4}, "`kernel_size` must .* odd .*Received: kernel_size=4"),
        ({"kernel_size": -3}, "`kernel_size` must .* odd .*Received: kernel_size=-3"),
        ({"kernel_size": 3.0}, "`kernel_size` must .* odd .*Received: kernel_size=3.0"),
        ({"sigma": (0, 1)}, r"`sigma` must .*Received: sigma=\(0, 1\)"),
        ({"sigma": (2.0, 1.0)}, r"`sigma` must .*Received: sigma=\(2.0, 1.0\)"),
        ({"border": "reflect"}, "`border` must .*renormalize.*Received: border='reflect'"),
        ({"value_range": (1, 0)}, r"`value_range` must .*Received: value_range=\(1, 0\)"),
    ],
)
def test_a_wrong_argument_raises(arguments, received):
    with pytest.raises(ValueError, match=received):
        RandomGaussianBlur(**arguments)


@pytest.mark.once
@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 64), st.integers(1, 30)),
    channels=st.integers(1, 5),
    border=st.sampled_from(["renormalize", "zeros"]),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
    sigmas=st.lists(
        st.sampled_from([0.0, 1e-6, 0.02, 0.3, 2.0, 50.0, 1e6]), min_size=3, max_size=3
    ),
)
def test_any_blur_is_finite_and_in_range(size, channels, border, value_range, sigmas):
    lower, upper = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([lower, upper], size=(3, *size, channels)).astype("float32")
    before = images.copy()
    found = blurred(images, sigmas, border=border, value_range=value_range)
    assert found.shape == images.shape and found.dtype == np.float32
    assert np.isfinite(found).all()
    margin = 1e-5 * (upper - lower)
    assert lower - margin <= found.min() and found.max() <= upper + margin
    np.testing.assert_array_equal(images, before)
