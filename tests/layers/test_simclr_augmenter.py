import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import (
    RandomColorJitter,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomQuarterTurn,
    RandomResizedCrop,
    RandomSolarize,
    SimCLRAugmenter,
    check_augmenter,
    presets,
)
from keras_simclr.training.views import draw_views, view_function

DRAWS = 16 * 500


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def built(size, **arguments):
    """Return an augmenter for pictures of `size` pixels a side."""
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
    """Return how far brightness, contrast, saturation and hue were drawn to change."""
    jitter = view.jitter
    factors = [numbers(f) - 1 for f in (jitter.brightness, jitter.contrast, jitter.saturation)]
    return [float(np.abs(f).max()) for f in (*factors, numbers(jitter.hue))]


@pytest.mark.parametrize(
    "size, expected",
    [(32, 0.5), (33, 1.0), ((32, 33), 1.0), ((33, 32), 1.0), ((20, 32), 0.5)],
    ids=str,
)
def test_small_views_have_the_weaker_colours_of_the_paper(size, expected):
    wanted = np.array([0.8, 0.8, 0.8, 0.2]) * expected
    np.testing.assert_allclose(strengths(drawn(size)), wanted, rtol=0.01)


@pytest.mark.parametrize("size, blurred", [(32, 0.0), (33, 0.5)], ids=str)
def test_small_views_are_not_blurred(size, blurred):
    sigmas = drawn(size).blur
    share = 0.0 if sigmas is None else (numbers(sigmas) > 0).mean()
    assert share == pytest.approx(blurred, abs=0.04)


def test_it_is_the_size_of_the_views_that_counts():
    view = drawn(96, image_size=32)
    np.testing.assert_allclose(strengths(view), [0.4, 0.4, 0.4, 0.1], rtol=0.01)


def test_a_strength_holds_whatever_the_size():
    view = drawn(24, strength=0.75, blur=1.0)
    np.testing.assert_allclose(strengths(view), [0.6, 0.6, 0.6, 0.15], rtol=0.01)
    assert (numbers(view.blur) > 0).all()


def test_the_shares_of_the_paper_are_the_default(check_share):
    view = drawn(96)
    check_share(numbers(view.crop.flip), 0.5)
    check_share(numbers(view.jitter.brightness) != 1, 0.8)
    check_share(numbers(view.grayscale), 0.2)
    check_share(numbers(view.blur) > 0, 0.5)


def test_the_shares_are_those_asked_for(check_share):
    view = drawn(96, horizontal_flip=0.1, jitter=0.3, grayscale=0.6, blur=0.9)
    check_share(numbers(view.crop.flip), 0.1)
    check_share(numbers(view.jitter.brightness) != 1, 0.3)
    check_share(numbers(view.grayscale), 0.6)
    check_share(numbers(view.blur) > 0, 0.9)


def test_boxes_keep_to_the_area_and_aspect_ratio_asked_for():
    crop = drawn(96, area=(0.3, 0.5), aspect_ratio=(0.9, 1.1)).crop
    height, width = numbers(crop.height), numbers(crop.width)
    share, ratio = height * width / 96**2, width / height
    assert 0.3 <= share.min() < 0.31 and 0.49 < share.max() <= 0.5
    assert 0.88 < ratio.min() < 0.92 and 1.08 < ratio.max() < 1.12


def test_what_is_drawn_for_one_transform_says_nothing_of_another():
    view = drawn(96)
    columns = [view.crop.top, view.crop.flip, view.jitter.hue, view.grayscale, view.blur]
    table = [numbers(column).astype("float64") for column in columns]
    table += [numbers(view.jitter.brightness) != 1]
    correlations = np.corrcoef(np.array(table)) - np.eye(6)
    assert np.abs(correlations).max() < 6 / np.sqrt(DRAWS)


def test_a_view_is_the_transforms_one_after_the_other(pictures):
    augmenter = built((28, 22), image_size=(24, 20), strength=1.0, blur=0.7, grayscale=0.4)
    view = augmenter.sample(5, 28, 22)
    images = RandomResizedCrop((24, 20)).apply(pictures, view.crop)
    images = RandomColorJitter().apply(images, view.jitter)
    images = RandomGrayscale().apply(images, view.grayscale)
    images = RandomGaussianBlur().apply(images, view.blur)
    expected = np.clip(numbers(images), 0, 255)
    np.testing.assert_allclose(numbers(augmenter.apply(pictures, view)), expected, atol=5e-3)


@pytest.mark.parametrize("training", [True, False])
def test_views_are_clipped(training):
    edge = np.zeros((16, 16, 16, 3), "uint8")
    edge[:, :, 8:] = 255
    augmenter = SimCLRAugmenter(31, jitter=0.0, grayscale=0.0, seed=1)
    views = numbers(augmenter(edge, training=training))
    assert views.min() == 0 and views.max() == pytest.approx(255, abs=1e-4)


def test_without_training_the_whole_picture_is_resized(pictures):
    found = numbers(SimCLRAugmenter((31, 40), blur=1.0)(pictures, training=False))
    whole = numbers(RandomResizedCrop((31, 40))(pictures, training=False))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.clip(whole, 0, 255), atol=1e-3)


def test_with_nothing_to_do_pictures_stay_as_they_are(pictures):
    augmenter = SimCLRAugmenter(
        strength=0,
        area=(1.0, 1.0),
        aspect_ratio=(0.01, 0.01),
        horizontal_flip=0,
        grayscale=0,
        blur=0,
    )
    np.testing.assert_allclose(numbers(augmenter(pictures)), pictures, atol=1e-3)


def test_a_picture_has_the_same_view_in_a_batch_of_any_size():
    augmenter = built((24, 20), strength=1.0, blur=0.5)
    images = np.random.default_rng(2).integers(0, 256, size=(37, 24, 20, 3), dtype="uint8")
    parameters = augmenter.sample(37, 24, 20)
    expected = numbers(augmenter.apply(images, parameters))
    found = numbers(augmenter.apply(images[32:], sliced(parameters, 32, 37)))
    np.testing.assert_allclose(found, expected[32:], atol=1e-3)


def test_compiled_views_are_those_made_eagerly():
    augmenter = SimCLRAugmenter((44, 40), strength=1.0, blur=0.5, seed=21)
    images = np.random.default_rng(2).integers(0, 256, size=(33, 30, 26, 3), dtype="uint8")
    eager = numbers(draw_views(augmenter, images, 5))
    np.testing.assert_allclose(view_function(augmenter)(images, 5), eager, atol=5e-3)


@pytest.mark.parametrize("channels", [1, 5])
def test_pictures_of_any_number_of_channels_have_views(channels):
    images = np.random.default_rng(2).integers(0, 256, size=(2, 24, 20, channels), dtype="uint8")
    views = numbers(SimCLRAugmenter((21, 34), blur=1.0, seed=1)(images))
    assert views.shape == (2, 21, 34, channels)
    assert 0 <= views.min() < views.max() <= 255.01


def test_a_model_knows_the_size_of_the_views_beforehand():
    images = keras.Input((None, None, 3))
    assert tuple(SimCLRAugmenter((12, 30))(images).shape) == (None, 12, 30, 3)


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"image_size": -3}, "`image_size` must .*Received: image_size=-3"),
        ({"image_size": True}, "`image_size` must .*Received: image_size=True"),
        ({"image_size": (8, 8, 3)}, r"`image_size` must .*Received: image_size=\(8, 8, 3\)"),
        ({"strength": 3.0}, r"`strength` must lie in \[0, 2.5\]. Received: strength=3.0"),
        ({"area": 0.5}, "`area` must .*Received: area=0.5"),
        ({"jitter": None}, "`jitter` must .*Received: jitter=None"),
        ({"custom": ["blur"]}, r"`custom` must .*Received: custom=\['blur'\]"),
        ({"value_range": 255}, "`value_range` must .*Received: value_range=255"),
        ({"strength": -1}, "`strength` must .*Received: strength=-1"),
        ({"area": (0, 1)}, r"`area` must .*Received: area=\(0, 1\)"),
        ({"aspect_ratio": (2, 1)}, r"`aspect_ratio` must .*Received: aspect_ratio=\(2, 1\)"),
        ({"horizontal_flip": 2}, "`horizontal_flip` must .*Received: horizontal_flip=2"),
        ({"jitter": -0.1}, "`jitter` must .*Received: jitter=-0.1"),
        ({"grayscale": 1.5}, "`grayscale` must .*Received: grayscale=1.5"),
        ({"blur": 1.1}, "`blur` must .*Received: blur=1.1"),
        ({"value_range": (1, 1)}, r"`value_range` must .*Received: value_range=\(1, 1\)"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, received):
    with pytest.raises(ValueError, match=received):
        SimCLRAugmenter(**arguments)


def test_pictures_too_small_to_be_cropped_are_refused():
    with pytest.raises(ValueError, match=r"must have at least 4 .*Received: shape=\(2, 8, 3, 3\)"):
        SimCLRAugmenter(8)(np.zeros((2, 8, 3, 3), "uint8"))


def test_one_augmenter_has_a_strength_for_each_size():
    augmenter = SimCLRAugmenter(seed=1)
    small, large = (augmenter.sample(4096, size, size) for size in (32, 96))
    np.testing.assert_allclose(strengths(small), [0.4, 0.4, 0.4, 0.1], rtol=0.01)
    np.testing.assert_allclose(strengths(large), [0.8, 0.8, 0.8, 0.2], rtol=0.01)
    assert small.blur is None and large.blur is not None


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
    low, high = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([low, high], size=(3, *size, channels)).astype(dtype)
    before = images.copy()
    flip, jitter, grayscale, blur, solarize = probabilities
    augmenter = SimCLRAugmenter(
        out,
        strength,
        horizontal_flip=flip,
        jitter=jitter,
        grayscale=grayscale,
        blur=blur,
        custom=[RandomSolarize(solarize, value_range=value_range, seed=4)],
        value_range=value_range,
        seed=3,
    )
    views = numbers(augmenter(images))
    assert views.shape == (3, *(out or size), channels) and views.dtype == np.float32
    assert np.isfinite(views).all()
    margin = 1e-5 * (high - low)
    assert low - margin <= views.min() and views.max() <= high + margin
    np.testing.assert_array_equal(images, before)


CUSTOM = {
    "erasing": lambda: keras.layers.RandomErasing(1.0, seed=1),
    "vertical flip": lambda: keras.layers.RandomFlip("vertical", seed=1),
    "noise": lambda: keras.layers.GaussianNoise(0.2, seed=1),
    "solarize": lambda: RandomSolarize(1.0, seed=1),
    "quarter turn": lambda: RandomQuarterTurn(seed=1),
}


@pytest.mark.parametrize("kind", CUSTOM)
def test_custom_layers_change_each_view_by_itself_after_the_papers_transforms(kind, pictures):
    copies = np.repeat(pictures[:1], 32, axis=0)
    high = 1 if kind == "noise" else 255
    shared = {"image_size": 20, "value_range": (0, high)}
    views_of, plain_of = (
        view_function(built((28, 22), custom=custom, **shared)) for custom in ([CUSTOM[kind]()], [])
    )
    copies = (copies / 255 * high).astype("float32")
    views = views_of(copies, 0) * (255 / high)
    changes = np.abs(views - plain_of(copies, 0) * (255 / high)).max(axis=(1, 2, 3))
    assert (changes > 5).sum() >= 8
    assert len(np.unique(np.round(changes, 2))) > 1
    assert views.min() >= 0 and views.max() <= 255.001


def test_custom_layers_follow_one_another(pictures):
    augmenter = built((28, 22), custom=[RandomSolarize(1.0, 0.0, seed=1), RandomGrayscale(1.0)])
    views = numbers(augmenter(pictures))
    plain = numbers(RandomGrayscale(1.0)(255 - numbers(built((28, 22))(pictures))))
    np.testing.assert_allclose(views, plain, atol=0.05)


def test_custom_layers_rest_without_training(pictures):
    custom = [make() for make in CUSTOM.values()]
    found = numbers(built((28, 22), image_size=20, custom=custom)(pictures, training=False))
    plain = numbers(built((28, 22), image_size=20)(pictures, training=False))
    np.testing.assert_allclose(found, plain, atol=1e-3)


def test_custom_layers_may_change_the_size(pictures):
    augmenter = built((28, 22), custom=[keras.layers.Resizing(9, 10)])
    assert tuple(augmenter(pictures).shape) == (5, 9, 10, 3)
    assert tuple(augmenter(keras.Input((28, 22, 3))).shape) == (None, 9, 10, 3)


def test_custom_layers_come_back_from_the_config(pictures):
    augmenter = built((28, 22), image_size=20, custom=[make() for make in CUSTOM.values()])
    config = keras.saving.serialize_keras_object(augmenter)
    again = keras.saving.deserialize_keras_object(config)
    views = view_function(augmenter)(pictures, 3)
    np.testing.assert_allclose(view_function(again)(pictures, 3), views, atol=1e-3)


def test_a_custom_layer_that_cannot_take_the_views_is_refused_beforehand():
    with pytest.raises(ValueError, match="Only square pictures"):
        built((28, 22), custom=[RandomQuarterTurn()])


def test_the_default_follows_the_presets():
    assert len(presets.IMAGENET) == 7
    by_size = {96: presets.IMAGENET, 32: presets.CIFAR}
    for size, preset in by_size.items():
        default, given = drawn(size), drawn(size, **preset)
        leaves = zip(*map(keras.tree.flatten, (default, given)), strict=True)
        assert all(np.array_equal(numbers(a), numbers(b)) for a, b in leaves if a is not None)
        assert (default.blur is None) == (preset["blur"] == 0)


@pytest.mark.parametrize("name, channels", [("SMALL_GRAY", 1), ("MANY_CHANNELS", 7)])
def test_the_presets_make_views_of_their_pictures(name, channels):
    images = np.random.default_rng(2).integers(0, 256, (40, 24, 24, channels), dtype="uint8")
    augmenter = SimCLRAugmenter(**getattr(presets, name), seed=1)
    assert all(passed for passed, _ in check_augmenter(augmenter, images))
