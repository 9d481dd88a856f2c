import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import (
    RandomColorDistortion,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    RandomSolarize,
    SimCLRAugmenter,
)
from keras_simclr.layers.views import draw_views, view_function

DRAWS = 16 * 500


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def built(size, **arguments):
    """Return an augmenter for images of `size` pixels a side."""
    augmenter = SimCLRAugmenter(**{"seed": 21, **arguments})
    augmenter.build((None, *np.broadcast_to(size, 2).tolist(), 3))
    return augmenter


def drawn(size, count=DRAWS, **arguments):
    return built(size, **arguments).sample(count, *np.broadcast_to(size, 2).tolist())


def sliced(parameters, begin, end):
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else leaf[begin:end], parameters
    )


def strengths(view):
    """Return the largest changes drawn of brightness, contrast, saturation and hue."""
    brightness, contrast, saturation, hue, _ = map(numbers, view.color_distortion)
    changes = (brightness - 1, contrast - 1, saturation - 1, hue)
    return [float(np.abs(change).max()) for change in changes]


@pytest.mark.parametrize(
    "size, expected",
    [(32, 0.5), (33, 1.0), ((32, 33), 1.0), ((33, 32), 1.0), ((20, 32), 0.5)],
    ids=str,
)
def test_small_views_have_the_weaker_color_distortion_of_the_paper(size, expected):
    wanted = np.array([0.8, 0.8, 0.8, 0.2]) * expected
    np.testing.assert_allclose(strengths(drawn(size)), wanted, rtol=0.01)


@pytest.mark.parametrize("size, blurred", [(32, 0.0), (33, 0.5)], ids=str)
def test_small_views_are_not_blurred(size, blurred):
    sigmas = drawn(size).blur
    rate = 0.0 if sigmas is None else (numbers(sigmas) > 0).mean()
    assert rate == pytest.approx(blurred, abs=0.04)


def test_the_size_of_the_views_counts_not_that_of_the_images():
    view = drawn(96, image_size=32)
    np.testing.assert_allclose(strengths(view), [0.4, 0.4, 0.4, 0.1], rtol=0.01)


def test_a_strength_that_is_given_holds_for_any_size():
    view = drawn(24, strength=0.75, blur=1.0)
    np.testing.assert_allclose(strengths(view), [0.6, 0.6, 0.6, 0.15], rtol=0.01)
    assert (numbers(view.blur) > 0).all()


def test_the_probabilities_of_the_paper_are_the_default(check_rate):
    view = drawn(96)
    check_rate(numbers(view.crop.flip), 0.5)
    check_rate(numbers(view.color_distortion.brightness) != 1, 0.8)
    check_rate(numbers(view.grayscale), 0.2)
    check_rate(numbers(view.blur) > 0, 0.5)


def test_the_probabilities_are_those_given(check_rate):
    view = drawn(96, horizontal_flip=0.1, color_distortion=0.3, grayscale=0.6, blur=0.9)
    check_rate(numbers(view.crop.flip), 0.1)
    check_rate(numbers(view.color_distortion.brightness) != 1, 0.3)
    check_rate(numbers(view.grayscale), 0.6)
    check_rate(numbers(view.blur) > 0, 0.9)


def test_boxes_have_the_area_and_the_aspect_ratio_given():
    crop = drawn(96, scale=(0.3, 0.5), aspect_ratio=(0.9, 1.1)).crop
    height, width = numbers(crop.height), numbers(crop.width)
    area, ratio = height * width / 96**2, width / height
    assert 0.3 <= area.min() < 0.31 and 0.49 < area.max() <= 0.5
    assert 0.88 < ratio.min() < 0.92 and 1.08 < ratio.max() < 1.12


def test_the_draws_of_the_transforms_are_independent():
    view = drawn(96)
    columns = [view.crop.top, view.crop.flip, view.color_distortion.hue, view.grayscale, view.blur]
    table = [numbers(column).astype("float64") for column in columns]
    table += [numbers(view.color_distortion.brightness) != 1]
    correlations = np.corrcoef(np.array(table)) - np.eye(6)
    assert np.abs(correlations).max() < 6 / np.sqrt(DRAWS)


def test_a_view_is_the_transforms_one_after_the_other(images):
    augmenter = built((28, 22), image_size=(24, 20), strength=1.0, blur=0.7, grayscale=0.4)
    view = augmenter.sample(5, 28, 22)
    expected = RandomResizedCrop((24, 20)).apply(images, view.crop)
    expected = RandomColorDistortion().apply(expected, view.color_distortion)
    expected = RandomGrayscale().apply(expected, view.grayscale)
    expected = RandomGaussianBlur().apply(expected, view.blur)
    expected = np.clip(numbers(expected), 0, 255)
    np.testing.assert_allclose(numbers(augmenter.apply(images, view)), expected, atol=5e-3)


@pytest.mark.parametrize("training", [True, False])
def test_views_are_clipped(training):
    edge = np.zeros((16, 16, 16, 3), "uint8")
    edge[:, :, 8:] = 255
    augmenter = SimCLRAugmenter(31, color_distortion=0.0, grayscale=0.0, seed=1)
    views = numbers(augmenter(edge, training=training))
    assert views.min() == 0 and views.max() == pytest.approx(255, abs=1e-4)


def test_without_training_the_whole_image_is_resized(images):
    found = numbers(SimCLRAugmenter((31, 40), blur=1.0)(images, training=False))
    whole = numbers(RandomResizedCrop((31, 40))(images, training=False))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.clip(whole, 0, 255), atol=1e-3)


def test_with_nothing_to_do_images_do_not_change(images):
    augmenter = SimCLRAugmenter(
        strength=0,
        scale=(1.0, 1.0),
        aspect_ratio=(0.01, 0.01),
        horizontal_flip=0,
        grayscale=0,
        blur=0,
    )
    np.testing.assert_allclose(numbers(augmenter(images)), images, atol=1e-3)


def test_an_image_has_the_same_view_in_a_batch_of_any_size():
    augmenter = built((24, 20), strength=1.0, blur=0.5)
    images = np.random.default_rng(2).integers(0, 256, size=(37, 24, 20, 3), dtype="uint8")
    parameters = augmenter.sample(37, 24, 20)
    expected = numbers(augmenter.apply(images, parameters))
    found = numbers(augmenter.apply(images[32:], sliced(parameters, 32, 37)))
    np.testing.assert_allclose(found, expected[32:], atol=1e-3)


@pytest.mark.parametrize(
    "count, size", [(33, (44, 40)), (5, (290, 310))], ids=["small", "one image at a time"]
)
def test_compiled_views_equal_eager_ones(count, size):
    some = {"color_distortion": 0.5, "grayscale": 0.5, "blur": 0.5}
    augmenter = SimCLRAugmenter(size, strength=1.0, seed=21, **some)
    images = np.random.default_rng(2).integers(0, 256, size=(count, 30, 26, 3), dtype="uint8")
    eager = numbers(draw_views(augmenter, images, 5))
    np.testing.assert_allclose(view_function(augmenter)(images, 5), eager, atol=5e-3)


@pytest.mark.parametrize("channels", [1, 5])
def test_images_of_any_number_of_channels_have_views(channels):
    images = np.random.default_rng(2).integers(0, 256, size=(2, 24, 20, channels), dtype="uint8")
    views = numbers(SimCLRAugmenter((21, 34), blur=1.0, seed=1)(images))
    assert views.shape == (2, 21, 34, channels)
    assert 0 <= views.min() < views.max() <= 255.01


def test_the_size_of_the_views_is_known_without_a_call():
    images = keras.Input((None, None, 3))
    assert tuple(SimCLRAugmenter((12, 30))(images).shape) == (None, 12, 30, 3)


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"image_size": -3}, "`image_size` must .*Received: image_size=-3"),
        ({"image_size": True}, "`image_size` must .*Received: image_size=True"),
        ({"image_size": (8, 8, 3)}, r"`image_size` must .*Received: image_size=\(8, 8, 3\)"),
        ({"strength": 3.0}, r"`strength` must be a number in \[0, 2.5\]. Received: strength=3.0"),
        ({"scale": 0.5}, "`scale` must .*Received: scale=0.5"),
        ({"color_distortion": None}, "`color_distortion` must .*Received: color_distortion=None"),
        ({"custom": ["blur"]}, r"`custom` must .*Received: custom=\['blur'\]"),
        ({"value_range": 255}, "`value_range` must .*Received: value_range=255"),
        ({"strength": -1}, "`strength` must .*Received: strength=-1"),
        ({"scale": (0, 1)}, r"`scale` must .*Received: scale=\(0, 1\)"),
        ({"aspect_ratio": (2, 1)}, r"`aspect_ratio` must .*Received: aspect_ratio=\(2, 1\)"),
        ({"horizontal_flip": 2}, "`horizontal_flip` must .*Received: horizontal_flip=2"),
        ({"color_distortion": -0.1}, "`color_distortion` must .*Received: color_distortion=-0.1"),
        ({"grayscale": 1.5}, "`grayscale` must .*Received: grayscale=1.5"),
        ({"blur": 1.1}, "`blur` must .*Received: blur=1.1"),
        ({"value_range": (1, 1)}, r"`value_range` must .*Received: value_range=\(1, 1\)"),
    ],
)
def test_a_wrong_argument_raises(arguments, received):
    with pytest.raises(ValueError, match=received):
        SimCLRAugmenter(**arguments)


def test_images_too_small_to_be_cropped_raise():
    with pytest.raises(
        ValueError, match="of at least 4 pixels to be cropped.*Received: shape=.2, 8"
    ):
        SimCLRAugmenter(8)(np.zeros((2, 8, 3, 3), "uint8"))


def test_one_augmenter_has_a_strength_for_each_size():
    augmenter = SimCLRAugmenter(seed=1)
    small, large = (augmenter.sample(4096, size, size) for size in (32, 96))
    np.testing.assert_allclose(strengths(small), [0.4, 0.4, 0.4, 0.1], rtol=0.01)
    np.testing.assert_allclose(strengths(large), [0.8, 0.8, 0.8, 0.2], rtol=0.01)
    assert small.blur is None and large.blur is not None


@pytest.mark.once
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(4, 48), st.integers(4, 48)),
    out=st.none() | st.tuples(st.integers(1, 48), st.integers(1, 48)),
    channels=st.sampled_from([1, 3, 3, 5]),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
    strength=st.none() | st.floats(0, 2.5),
    probabilities=st.tuples(*5 * [st.sampled_from([0, 0.5, 1])]),
    dtype=st.sampled_from(["float16", "float32", "float64", "int32"]),
)
def test_any_view_is_finite_and_in_range(
    size, out, channels, value_range, strength, probabilities, dtype
):
    lower, upper = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([lower, upper], size=(3, *size, channels)).astype(dtype)
    before = images.copy()
    flip, distortion, grayscale, blur, solarize = probabilities
    augmenter = SimCLRAugmenter(
        out,
        strength,
        horizontal_flip=flip,
        color_distortion=distortion,
        grayscale=grayscale,
        blur=blur,
        custom=[RandomSolarize(solarize, value_range=value_range, seed=4)],
        value_range=value_range,
        seed=3,
    )
    views = numbers(augmenter(images))
    assert views.shape == (3, *(out or size), channels) and views.dtype == np.float32
    assert np.isfinite(views).all()
    margin = 1e-5 * (upper - lower)
    assert lower - margin <= views.min() and views.max() <= upper + margin
    np.testing.assert_array_equal(images, before)
