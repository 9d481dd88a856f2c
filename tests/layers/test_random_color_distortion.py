import colorsys
import functools
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_simclr.layers import RandomColorDistortion
from keras_simclr.ops.compilation import compile_function

NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
STEPS = list(NEUTRAL)  # a step's number in `order` is its place here
DRAWS = 16 * 2400


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def distort(images, order=(0, 1, 2, 3), value_range=(0, 255), **changes):
    """Apply neutral factors but for `changes`, in one order for all images or one for each."""
    count = len(images)
    layer = RandomColorDistortion(value_range=value_range)
    fields = {
        name: np.broadcast_to(value, count).astype("float32")
        for name, value in {**NEUTRAL, **changes}.items()
    }
    order = np.broadcast_to(order, (count, 4)).astype("int32")
    return numbers(layer.apply(images, draws()._replace(**fields, order=order)))


@functools.cache
def draws(**arguments):
    return RandomColorDistortion(seed=13, **arguments).sample(DRAWS, 8, 8)


def step_by_hand(name, image, factor):
    """Apply one step with NumPy to an image (H, W, 3) in [0, 1], without clipping."""
    if name == "brightness":
        return image * factor
    if name == "contrast":
        mean = image.mean(axis=(0, 1))
        return mean + factor * (image - mean)
    pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3)]
    if name == "saturation":
        pixels = [(h, min(s * factor, 1), v) for h, s, v in pixels]
    else:
        pixels = [((h + factor) % 1, s, v) for h, s, v in pixels]
    return np.array([colorsys.hsv_to_rgb(*pixel) for pixel in pixels]).reshape(image.shape)


def steps_by_hand(image, order, factors):
    image = image.astype("float64")
    for step in order:
        image = np.clip(step_by_hand(STEPS[step], image, factors[STEPS[step]]), 0, 1)
    return image


@pytest.fixture(scope="module")
def one_step_each():
    """Return a function from a step to its result for the authors' image, and theirs."""
    cases = {}

    def views(golden, step):
        reference = golden("color")
        if not cases:
            factors = {
                name: reference["hue_deltas" if name == "hue" else f"{name}_factors"]
                for name in STEPS
            }
            count = sum(map(len, factors.values()))
            changes = {name: np.full(count, neutral) for name, neutral in NEUTRAL.items()}
            begin = 0
            for name, values in factors.items():
                cases[name] = slice(begin, begin + len(values))
                changes[name][cases[name]] = values
                begin += len(values)
            cases["views"] = distort(reference["image"][None].repeat(count, axis=0), **changes)
        return cases["views"][cases[step]] / 255, np.clip(reference[step], 0, 1)

    return views


@pytest.mark.parametrize("step", STEPS)
def test_each_step_returns_the_pixels_of_the_authors(golden, one_step_each, step):
    found, expected = one_step_each(golden, step)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_neutral_factors_change_nothing(images):
    np.testing.assert_allclose(distort(images), images, atol=1e-3)


@pytest.mark.parametrize("first", range(4), ids=list(STEPS))
def test_neutral_factors_only_clip_what_a_crop_overshoots(first, rng):
    images = rng.uniform(-0.2, 1.2, size=(2, 5, 4, 3)).astype("float32")
    order = (first, *(step for step in range(4) if step != first))
    found = distort(images, order, value_range=(0, 1))
    np.testing.assert_allclose(found, np.clip(images, 0, 1), atol=1e-6)


def test_large_images_are_distorted_one_by_one(rng):
    small = rng.uniform(-0.2, 1.2, size=(3, 5, 5, 3)).astype("float32")
    order = (2, 0, 3, 1)
    factors = {"brightness": 1.3, "contrast": 0.6, "saturation": 1.2, "hue": 0.1}
    drawn = [np.float32([NEUTRAL[name], value, value]) for name, value in factors.items()]
    layer = RandomColorDistortion(value_range=(0, 1))

    @compile_function
    def distorted(images, *drawn):
        return layer.apply(images, type(draws())(*drawn))

    large = [small.repeat(42, axis=1).repeat(42, axis=2), *drawn, np.tile(np.int32(order), (3, 1))]
    found = numbers(distorted(*map(keras.ops.convert_to_tensor, large)))
    changed = [steps_by_hand(image, order, factors) for image in small[1:]]
    expected = np.array([np.clip(small[0], 0, 1), *changed])
    np.testing.assert_allclose(found[:, ::42, ::42], expected, atol=1e-5)
    np.testing.assert_array_equal(found, found[:, ::42, ::42].repeat(42, axis=1).repeat(42, axis=2))


@pytest.fixture(scope="module")
def in_every_order():
    """Return an image, the 24 orders, the factors, and the views of each order."""
    rng = np.random.default_rng(3)
    orders = np.array(list(itertools.permutations(range(4))))
    image = rng.uniform(0, 1, size=(5, 4, 3)).astype("float32")
    factors = {"brightness": 1.6, "contrast": 1.7, "saturation": 1.5, "hue": 0.13}
    images = np.broadcast_to(image, (24 * 16, 5, 4, 3))
    found = distort(images, orders.repeat(16, axis=0), value_range=(0, 1), **factors)
    return image, orders, factors, found.reshape(24, 16, 5, 4, 3)


def test_the_steps_follow_the_order_drawn(in_every_order):
    image, orders, factors, found = in_every_order
    for order, views in zip(orders, found, strict=True):
        expected = steps_by_hand(image, order, factors)
        np.testing.assert_allclose(views[0], expected, atol=1e-4, err_msg=str(order))


def test_the_order_of_the_steps_matters(in_every_order):
    first_views = in_every_order[-1][:, 0]
    differences = np.abs(first_views[:, None] - first_views[None]).max(axis=(2, 3, 4))
    assert (differences > 0.02).sum() > 24 * 12


def test_16_consecutive_images_have_the_same_order(in_every_order):
    found = in_every_order[-1]
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1], found.shape), atol=1e-6)


def test_an_order_is_drawn_for_every_16_images():
    order = numbers(draws().order).reshape(-1, 16, 4)
    assert (order == order[:, :1]).all()
    assert (order[1:, 0] != order[:-1, 0]).any(axis=1).mean() > 0.9


def test_the_remaining_images_have_the_same_order():
    order = numbers(RandomColorDistortion(seed=1).sample(35, 8, 8).order)
    assert order.shape == (35, 4)
    assert (order[32:] == order[32]).all()


def test_every_order_is_drawn_equally_often():
    """Chi-square with 23 degrees exceeds 23 + 2 sqrt(23 t) + 2 t with a chance below e^-18."""
    order = numbers(draws().order)[::16]
    counts = np.unique(order @ [1000, 100, 10, 1], return_counts=True)[1]
    expected = len(order) / 24
    assert len(counts) == 24
    assert np.sum((counts - expected) ** 2 / expected) < 23 + 2 * np.sqrt(23 * 18) + 2 * 18


@pytest.mark.parametrize(
    "name, strength, lower, upper",
    [
        ("brightness", 0.8, 0.2, 1.8),
        ("contrast", 0.4, 0.6, 1.4),
        ("saturation", 0.8, 0.2, 1.8),
        ("saturation", 1.5, 0.0, 2.5),
        ("hue", 0.2, -0.2, 0.2),
        ("hue", 0.1, -0.1, 0.1),
    ],
)
def test_a_factor_is_uniform_within_its_strength(check_uniform, name, strength, lower, upper):
    drawn = draws(factor=1.0, **{f"{name}_factor": strength})
    check_uniform(getattr(drawn, name), np.float32(lower), np.float32(upper))


def test_the_strengths_of_the_paper_are_the_default(check_uniform):
    drawn = draws(factor=1.0)
    for name in ("brightness", "contrast", "saturation"):
        check_uniform(getattr(drawn, name), np.float32(0.2), np.float32(1.8))
    check_uniform(drawn.hue, np.float32(-0.2), np.float32(0.2))


def test_the_factors_of_an_image_are_independent():
    drawn = draws(factor=1.0)
    factors = np.array([numbers(getattr(drawn, name)) for name in STEPS])
    correlations = np.corrcoef(factors) - np.eye(4)
    assert np.abs(correlations).max() < 6 / np.sqrt(DRAWS)


def test_each_image_has_its_own_factors():
    brightness = numbers(draws(factor=1.0).brightness)
    neighbors = np.corrcoef(brightness[1:], brightness[:-1])[0, 1]
    assert abs(neighbors) < 6 / np.sqrt(DRAWS)


@pytest.mark.parametrize(
    "arguments, expected", [({"factor": 0.3}, 0.3), ({"factor": 0.8}, 0.8), ({}, 0.8)], ids=str
)
def test_images_change_with_the_probability_given_or_0_8(check_rate, arguments, expected):
    check_rate(numbers(draws(**arguments).brightness) != 1, expected)


def test_an_image_changes_in_every_step_or_in_none():
    drawn = draws()
    changed = [numbers(getattr(drawn, name)) != NEUTRAL[name] for name in STEPS]
    assert (np.array(changed) == changed[0]).mean() > 0.999


@pytest.mark.parametrize(
    "arguments",
    [{"factor": 0.0}, {f"{name}_factor": 0 for name in STEPS}],
    ids=["probability 0", "strength 0"],
)
def test_without_probability_or_strength_all_factors_are_neutral(arguments):
    drawn = draws(**arguments)
    for name, neutral in NEUTRAL.items():
        assert (numbers(getattr(drawn, name)) == neutral).all()


def test_with_probability_1_every_image_changes(images):
    found = numbers(RandomColorDistortion(factor=1.0, seed=1)(images))
    assert (np.abs(found - images).mean(axis=(1, 2, 3)) > 1).all()


def test_with_probability_0_no_image_changes(images):
    found = numbers(RandomColorDistortion(factor=0.0, seed=1)(images))
    np.testing.assert_allclose(found, images, atol=1e-3)


def test_without_training_images_do_not_change(images):
    found = numbers(RandomColorDistortion(factor=1.0)(images, training=False))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, images)


@pytest.fixture(scope="module")
def full_batch():
    """Return a layer, 48 images, their parameters and views."""
    layer, drawn = RandomColorDistortion(), draws()
    images = np.random.default_rng(2).integers(0, 256, size=(48, 12, 10, 3), dtype="uint8")
    drawn = type(drawn)(*(field[:48] for field in drawn))
    return layer, images, drawn, numbers(layer.apply(images, drawn))


@pytest.mark.parametrize("begin, end", [(0, 1), (0, 15), (16, 33), (0, 33)])
def test_an_image_has_the_same_view_in_a_batch_of_any_size(full_batch, begin, end):
    layer, images, drawn, expected = full_batch
    some = type(drawn)(*(field[begin:end] for field in drawn))
    found = numbers(layer.apply(images[begin:end], some))
    assert found.shape == (end - begin, 12, 10, 3)
    np.testing.assert_allclose(found, expected[begin:end], atol=1e-3)


def test_gray_images_have_neither_saturation_nor_hue():
    gray = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1).repeat(3, axis=-1)
    np.testing.assert_allclose(distort(gray, saturation=1.8, hue=0.3), gray, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_without_three_channels_only_change_in_brightness_and_contrast(channels):
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 1, size=(2, 9, 7, channels)).astype("float32")
    found = distort(
        images, (3, 1, 2, 0), (0, 1), brightness=1.3, contrast=0.6, saturation=0.2, hue=0.2
    )
    mean = images.mean(axis=(1, 2), keepdims=True)
    expected = np.clip(1.3 * np.clip(mean + 0.6 * (images - mean), 0, 1), 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, received",
    [
        ({"brightness_factor": -0.1}, "`brightness_factor` must .*: brightness_factor=-0.1"),
        ({"contrast_factor": -1}, "`contrast_factor` must .*: contrast_factor=-1"),
        ({"saturation_factor": float("nan")}, "`saturation_factor` must .*: saturation_factor=nan"),
        ({"hue_factor": 0.6}, "`hue_factor` must .*Received: hue_factor=0.6"),
        ({"hue_factor": -0.1}, "`hue_factor` must .*Received: hue_factor=-0.1"),
        ({"factor": 1.2}, "`factor` must .*Received: factor=1.2"),
        ({"factor": -1}, "`factor` must .*Received: factor=-1"),
        ({"value_range": (5, 5)}, r"`value_range` must .*Received: value_range=\(5, 5\)"),
    ],
)
def test_a_wrong_argument_raises(arguments, received):
    with pytest.raises(ValueError, match=received):
        RandomColorDistortion(**arguments)


@pytest.mark.once
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    channels=st.sampled_from([1, 3, 3, 3, 5]),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
    order=st.permutations(range(4)),
    brightness=st.floats(0, 3),
    contrast=st.floats(0, 3),
    saturation=st.floats(0, 3),
    hue=st.floats(-0.5, 0.5),
)
def test_any_distortion_is_finite_and_in_range(size, channels, value_range, order, **factors):
    lower, upper = value_range
    rng = np.random.default_rng(0)
    images = rng.choice([lower, (lower + upper) / 2, upper], size=(3, *size, channels)).astype(
        "float32"
    )
    before = images.copy()
    found = distort(images, order, value_range, **factors)
    assert found.shape == images.shape and found.dtype == np.float32
    assert np.isfinite(found).all()
    margin = 1e-5 * (upper - lower)
    assert lower - margin <= found.min() and found.max() <= upper + margin
    np.testing.assert_array_equal(images, before)
