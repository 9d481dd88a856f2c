import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_simclr.layers import RandomResizedCrop, SimCLRAugmenter
from keras_simclr.layers.random_resized_crop import Crop

SIZES = {"32x32": (32, 32, 32), "96x96": (96, 96, 96), "120x100": (120, 100, 96)}
CHANCE = 1e-8  # that the right distribution fails


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def boxes(layer, count, height, width):
    """Return drawn boxes as integers: top, left, height, width, each (N,)."""
    drawn = [numbers(side) for side in layer.sample(count, height, width)[:4]]
    assert all((side == np.round(side)).all() for side in drawn)
    return [side.astype("int64") for side in drawn]


def crop(layer, images, box, flip=False):
    """Apply the layer with the same box for all images, or one box per image."""
    top, left, height, width = np.broadcast_to(box, (len(images), 4)).T.astype("float32")
    flip = np.broadcast_to(flip, len(images))
    return numbers(layer.apply(images, Crop(top, left, height, width, flip)))


def with_pillow(image, box, size, kernel):
    """Crop, then resize channel by channel: Pillow averages when it shrinks."""
    top, left, height, width = box
    part = image[top : top + height, left : left + width].astype("float32")
    planes = [
        Image.fromarray(np.ascontiguousarray(part[..., channel])).resize(size[::-1], kernel)
        for channel in range(part.shape[-1])
    ]
    return np.stack(planes, axis=-1)


@pytest.mark.parametrize("size", [32, 96])
def test_a_box_has_the_pixels_of_the_authors(golden, size):
    reference = golden("crop_resize")
    images = np.repeat(reference["image"][None], len(reference["boxes"]), axis=0)
    found = crop(RandomResizedCrop(size), images, reference["boxes"]) / 255
    np.testing.assert_allclose(found, reference[f"outputs_{size}"], atol=1e-3)


@pytest.mark.parametrize("interpolation, kernel", [("bicubic", 3), ("bilinear", 2)])
def test_enlarging_agrees_with_pillow(images, interpolation, kernel):
    layer = RandomResizedCrop((40, 37), interpolation=interpolation)
    box = (5, 2, 17, 13)
    expected = with_pillow(images[0], box, (40, 37), kernel)
    np.testing.assert_allclose(crop(layer, images[:1], box)[0], expected, atol=1e-3 * 255)


@pytest.mark.parametrize("interpolation, kernel", [("bicubic", 3), ("bilinear", 2)])
def test_shrinking_with_antialias_agrees_with_pillow(images, interpolation, kernel):
    layer = RandomResizedCrop((9, 6), interpolation=interpolation, antialias=True)
    box = (3, 1, 25, 20)
    expected = with_pillow(images[0], box, (9, 6), kernel)
    np.testing.assert_allclose(crop(layer, images[:1], box)[0], expected, atol=1e-3 * 255)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("antialias, size", [(False, (130, 137)), (True, (61, 45))])
def test_resizing_large_images_agrees_with_pillow(rng, antialias, size, flip):
    images = rng.integers(0, 256, size=(3, 140, 150, 2), dtype="uint8")
    boxes = np.array([(0, 0, 130, 137), (9, 13, 70, 131), (60, 90, 80, 60)])
    found = crop(RandomResizedCrop(size, antialias=antialias), images, boxes, np.full(3, flip))
    for image, box, view in zip(images, boxes, found, strict=True):
        expected = with_pillow(image, box, size, 3)
        view = view[:, ::-1] if flip else view
        np.testing.assert_allclose(view, expected, atol=1e-3 * 255)


def test_a_flipped_view_is_the_reversed_view(images):
    twice = np.concatenate([images, images])
    plain, flipped = np.split(
        crop(RandomResizedCrop(16), twice, (4, 3, 15, 12), np.arange(10) >= 5), 2
    )
    np.testing.assert_allclose(flipped, plain[:, :, ::-1], atol=1e-3)


def test_a_box_of_one_pixel_has_its_color(images):
    found = crop(RandomResizedCrop((5, 8)), images, (27, 0, 1, 1))
    expected = np.broadcast_to(images[:, 27:28, :1], (5, 5, 8, 3))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_pixels_outside_the_box_do_not_count(images):
    other = 255 - images
    other[:, 9:20, 6:16] = images[:, 9:20, 6:16]
    found = crop(RandomResizedCrop(20), np.concatenate([images, other]), (9, 6, 11, 10))
    np.testing.assert_allclose(found[:5], found[5:], atol=1e-3)


def test_the_whole_image_at_its_own_size_does_not_change(images):
    found = crop(RandomResizedCrop(), images, (0, 0, 28, 22))
    np.testing.assert_allclose(found, images, atol=1e-3)


def test_values_are_not_clipped():
    edge = np.zeros((1, 8, 8, 1), "uint8")
    edge[:, :, 4:] = 255
    found = crop(RandomResizedCrop(24), edge, (0, 0, 8, 8))
    assert found.min() < -5 and found.max() > 260


def test_without_training_the_whole_image_is_resized(images):
    layer = RandomResizedCrop((31, 17), horizontal_flip=1.0)
    found = numbers(layer(images, training=False))
    np.testing.assert_allclose(found, crop(layer, images, (0, 0, 28, 22)), atol=1e-3)


@pytest.mark.parametrize("given, expected", [(24, (24, 24)), ((12, 30), (12, 30))])
def test_the_views_have_the_size_given(images, given, expected):
    layer = RandomResizedCrop(given)
    assert tuple(layer(images).shape) == (5, *expected, 3)


@pytest.mark.parametrize(
    "given, expected", [(None, (28, 22)), (24, (24, 24)), ((12, 30), (12, 30))]
)
def test_the_size_of_the_views_is_known_without_a_call(given, expected):
    images = keras.Input((28, 22, 3))
    assert tuple(RandomResizedCrop(given)(images).shape) == (None, *expected, 3)


def quantity(name, top, left, height, width):
    return {
        "top": top,
        "left": left,
        "height": height,
        "width": width,
        "scale": height * width,
        "aspect ratio": np.round(width / height, 6),
    }[name]


@pytest.fixture(scope="module", params=SIZES)
def two_samples(request):
    """Return a function from the name of a quantity to its values in our boxes and in theirs."""
    height, width, size = SIZES[request.param]
    ours = boxes(RandomResizedCrop(size, seed=11), 100_000, height, width)

    def values(golden, name):
        theirs = golden("crop_boxes")[request.param].astype("int64")
        theirs = theirs[0], theirs[1], theirs[2], theirs[3]
        return quantity(name, *ours), quantity(name, *theirs)

    return values


QUANTITIES = ["scale", "aspect ratio", "top", "left", "height", "width"]


@pytest.mark.parametrize("name", QUANTITIES)
def test_boxes_have_the_distribution_of_the_authors(two_samples, golden, name):
    """Two-sample Kolmogorov and Smirnov: P(distance > d) is about 2 exp(-2 d^2 n m / (n + m))."""
    ours, theirs = (np.sort(values) for values in two_samples(golden, name))
    at = np.union1d(ours, theirs)
    fractions = [np.searchsorted(v, at, side="right") / len(v) for v in (ours, theirs)]
    size = len(ours) * len(theirs) / (len(ours) + len(theirs))
    assert np.abs(fractions[0] - fractions[1]).max() < np.sqrt(np.log(2 / CHANCE) / (2 * size))


@pytest.mark.parametrize("name", ["top", "left", "height", "width"])
def test_every_side_and_position_is_as_frequent_as_the_authors(two_samples, golden, name):
    """Two-sample chi-square, which with k degrees exceeds k + 2 sqrt(k t) + 2 t by e^-t at most."""
    ours, theirs = two_samples(golden, name)
    counts = np.stack([np.bincount(v, minlength=121) for v in (ours, theirs)])
    rare = counts.sum(axis=0) < 60
    counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    counts = counts[:, counts.sum(axis=0) > 0]
    ratio = np.sqrt(len(theirs) / len(ours))
    statistic = np.sum((counts[0] * ratio - counts[1] / ratio) ** 2 / counts.sum(axis=0))
    degrees, t = counts.shape[1] - 1, -np.log(CHANCE)
    assert statistic < degrees + 2 * np.sqrt(degrees * t) + 2 * t


@pytest.mark.parametrize("height, width", [(4, 4), (4, 41), (37, 5), (64, 48)])
@pytest.mark.parametrize("aspect_ratio", [(3 / 4, 4 / 3), (0.05, 20.0)])
def test_boxes_are_inside_the_image(height, width, aspect_ratio):
    layer = RandomResizedCrop((20, 30), scale=(1e-4, 1.0), aspect_ratio=aspect_ratio, seed=2)
    top, left, box_height, box_width = boxes(layer, 4000, height, width)
    assert min(top.min(), left.min()) >= 0
    assert min(box_height.min(), box_width.min()) >= 1
    assert (top + box_height).max() <= height and (left + box_width).max() <= width


def test_boxes_have_the_area_and_the_aspect_ratio_given():
    layer = RandomResizedCrop(64, scale=(0.3, 0.5), aspect_ratio=(0.8, 1.25), seed=3)
    _, _, height, width = boxes(layer, 4000, 200, 220)
    area = height * width / (200 * 220)
    assert 0.3 <= area.min() < 0.31 and 0.49 < area.max() <= 0.5
    assert 0.79 < (width / height).min() < 0.82 and 1.2 < (width / height).max() < 1.27


def test_the_aspect_ratio_is_relative_to_that_of_the_views():
    _, _, height, width = boxes(RandomResizedCrop((20, 50), seed=3), 4000, 200, 220)
    ratio = width / height
    assert 0.74 * 2.5 < ratio.min() < 0.8 * 2.5 and 1.25 * 2.5 < ratio.max() < 1.36 * 2.5


def test_boxes_cover_at_least_the_area_given():
    layer = RandomResizedCrop(32, min_object_covered=0.6, seed=3)
    _, _, height, width = boxes(layer, 4000, 50, 50)
    assert 0.6 <= (height * width).min() / 2500 < 0.63


def test_without_a_valid_box_it_is_the_whole_image():
    layer = RandomResizedCrop(32, scale=(0.9, 1.0), aspect_ratio=(0.1, 0.2), seed=3)
    drawn = np.array(boxes(layer, 4000, 40, 40))
    assert (drawn == np.array([[0], [0], [40], [40]])).all()


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_views_are_flipped_with_the_probability_given(check_rate, probability):
    layer = RandomResizedCrop(32, horizontal_flip=probability, seed=4)
    flip = numbers(layer.sample(4000, 40, 40).flip)
    if probability in (0, 1):
        assert (flip == bool(probability)).all()
    else:
        check_rate(flip, probability)


def test_views_are_not_flipped_by_default():
    assert not numbers(RandomResizedCrop(32).sample(4000, 40, 40).flip).any()


def test_each_image_has_its_own_box():
    drawn = np.array(boxes(RandomResizedCrop(32, seed=5), 4000, 200, 220))
    assert len(np.unique(drawn, axis=1).T) > 3900


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"image_size": 0}, "`image_size` must .*Received: image_size=0"),
        ({"image_size": (8, -1)}, r"`image_size` must .*Received: image_size=\(8, -1\)"),
        ({"image_size": (8, 8, 3)}, r"`image_size` must .*Received: image_size=\(8, 8, 3\)"),
        ({"scale": (0, 1)}, r"`scale` must .*Received: scale=\(0, 1\)"),
        ({"scale": (0.5, 0.2)}, r"`scale` must .*Received: scale=\(0.5, 0.2\)"),
        ({"scale": (0.5, 1.1)}, r"`scale` must .*Received: scale=\(0.5, 1.1\)"),
        ({"scale": (float("nan"), 1)}, r"`scale` must .*Received: scale=\(nan, 1\)"),
        ({"aspect_ratio": (0, 1)}, r"`aspect_ratio` must .*Received: aspect_ratio=\(0, 1\)"),
        ({"aspect_ratio": (2, 1)}, r"`aspect_ratio` must .*Received: aspect_ratio=\(2, 1\)"),
        ({"horizontal_flip": 1.5}, "`horizontal_flip` must .*Received: horizontal_flip=1.5"),
        ({"horizontal_flip": -0.1}, "`horizontal_flip` must .*Received: horizontal_flip=-0.1"),
        ({"min_object_covered": 2}, "`min_object_covered` must .*Received: min_object_covered=2"),
        ({"interpolation": "area"}, "`interpolation` must .*bicubic.*interpolation='area'"),
        ({"value_range": (1, 0)}, r"`value_range` must .*Received: value_range=\(1, 0\)"),
    ],
)
def test_a_wrong_argument_raises(arguments, received):
    with pytest.raises(ValueError, match=received):
        RandomResizedCrop(**arguments)


def test_images_too_small_to_be_cropped_raise():
    with pytest.raises(ValueError, match=r"at least 4 pixels .*Received: shape=\(1, 3, 8, 3\)"):
        RandomResizedCrop(8)(np.zeros((1, 3, 8, 3), "uint8"))


@pytest.mark.once
@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    data=st.data(),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    out=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.integers(1, 5),
    dtype=st.sampled_from(["uint8", "int32", "float16", "float32"]),
    options=st.tuples(st.sampled_from(["bicubic", "bilinear"]), st.booleans()),
)
def test_any_box_of_any_image_has_a_finite_view(data, size, out, channels, dtype, options):
    height, width = size
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = (
        top,
        left,
        data.draw(st.integers(1, height - top)),
        data.draw(st.integers(1, width - left)),
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(2, *size, channels)).astype(dtype)
    before = images.copy()
    layer = RandomResizedCrop(out, interpolation=options[0], antialias=options[1])
    found = crop(layer, images, box, data.draw(st.booleans()))
    part = images[:, top : top + box[2], left : left + box[3]].astype("float64")
    margin = 1e-2 if options[0] == "bilinear" else 0.6 * (part.max() - part.min()) + 1e-2
    assert found.shape == (2, *out, channels) and found.dtype == np.float32
    assert np.isfinite(found).all()
    assert part.min() - margin <= found.min() and found.max() <= part.max() + margin
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("layer", [RandomResizedCrop, SimCLRAugmenter])
def test_crops_too_small_to_cover_enough_are_refused(layer):
    with pytest.raises(ValueError, match="`min_object_covered`"):
        layer(16, scale=(0.02, 0.09))


def test_crops_may_all_be_small():
    augmenter = SimCLRAugmenter(16, scale=(0.02, 0.09), min_object_covered=0.02, seed=0)
    *_, height, width = boxes(augmenter.crop, 1000, 96, 96)
    assert (0.02 <= height * width / 96**2).all() and (height * width / 96**2 <= 0.09).all()
