"""What holds for every layer that transforms images."""

import functools

import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    CenterCropAndResize,
    RandomColorDistortion,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    RandomSolarize,
    SimCLRAugmenter,
)
from keras_simclr.layers.views import view_function

SEEDED = {"seed": 9}
LAYERS = {
    "crop": (RandomResizedCrop, {**SEEDED, "image_size": (17, 21), "horizontal_flip": 0.5}),
    "color distortion": (RandomColorDistortion, {**SEEDED, "factor": 0.7}),
    "grayscale": (RandomGrayscale, {**SEEDED, "factor": 0.5}),
    "solarize": (RandomSolarize, {**SEEDED, "factor": 0.5}),
    "blur": (RandomGaussianBlur, {**SEEDED, "factor": 0.7, "border": "zeros"}),
    "center crop": (CenterCropAndResize, {"image_size": (17, 21)}),
    "augmenter": (
        SimCLRAugmenter,
        {**SEEDED, "image_size": (24, 21), "strength": 0.9, "blur": 0.7},
    ),
}
RANDOM = [kind for kind in LAYERS if kind != "center crop"]
COUNT, HEIGHT, WIDTH = 12, 26, 22

for_each_layer = pytest.mark.parametrize("kind", LAYERS)
for_each_random_layer = pytest.mark.parametrize("kind", RANDOM)


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def make(kind, **arguments):
    layer_class, defaults = LAYERS[kind]
    layer = layer_class(**{**defaults, **arguments})
    layer.build((None, HEIGHT, WIDTH, 3))
    return layer


def batch():
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, size=(COUNT, HEIGHT // 2, WIDTH // 2, 3))
    return coarse.repeat(2, axis=1).repeat(2, axis=2).astype("uint8")


@functools.cache
def parameters(kind):
    drawn = make(kind).sample(COUNT, HEIGHT, WIDTH)
    return keras.tree.map_structure(numbers, drawn)


def views(kind, images, **arguments):
    """Return the views with the same parameters in every call."""
    layer = make(kind, **arguments)
    if kind == "center crop":
        return numbers(layer(images))
    return numbers(layer.apply(images, parameters(kind)))


@functools.cache
def expected(kind):
    return views(kind, batch())


def drawn_by(layer):
    drawn = [layer.sample(COUNT, HEIGHT, WIDTH) for _ in range(3)]
    return [numbers(leaf) for leaf in keras.tree.flatten(drawn) if leaf is not None]


def same(drawn, again):
    return all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))


@for_each_layer
def test_it_changes_images(kind):
    found = expected(kind)
    assert found.dtype == np.float32
    assert found.shape != batch().shape or np.abs(found - batch()).max() > 10


@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("crop", "float16"),
        ("color distortion", "float64"),
        ("grayscale", "int32"),
        ("grayscale", "float16"),
        ("blur", "int32"),
        ("center crop", "float16"),
        ("augmenter", "float64"),
    ],
)
def test_the_dtype_of_the_images_makes_no_difference(kind, dtype):
    found = views(kind, batch().astype(dtype))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(kind), atol=1e-3)


@for_each_layer
def test_float_images_have_the_views_of_integers_and_do_not_change(kind):
    images = keras.ops.convert_to_tensor(batch().astype("float32"))
    np.testing.assert_allclose(views(kind, images), expected(kind), atol=1e-3)
    np.testing.assert_array_equal(numbers(images), batch())


@pytest.mark.parametrize(
    "kind, lower, upper", [("augmenter", 0, 1), *((kind, -1, 1) for kind in LAYERS)]
)
def test_the_value_range_makes_no_difference(kind, lower, upper):
    scaled = (batch() / 255 * (upper - lower) + lower).astype("float32")
    found = views(kind, scaled, value_range=(lower, upper))
    np.testing.assert_allclose((found - lower) / (upper - lower) * 255, expected(kind), atol=2e-3)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("kind", ["crop", "blur", "center crop"])
def test_every_channel_is_treated_the_same(kind, channels):
    chosen = [2, 0, 1, 0, 2][:channels]
    found = views(kind, batch()[..., chosen])
    np.testing.assert_allclose(found, expected(kind)[..., chosen], atol=1e-3)


@for_each_random_layer
def test_a_call_samples_and_applies_and_integer_images_do_not_change(kind):
    images = batch()
    # `expected` comes from `sample` and `apply` of another layer of the same seed.
    np.testing.assert_allclose(numbers(make(kind)(images)), expected(kind), atol=1e-3)
    np.testing.assert_array_equal(images, batch())


@for_each_random_layer
def test_an_empty_batch_raises(kind):
    with pytest.raises(ValueError, match=r"at least one image. Received: shape=\(0, 26, 22, 3"):
        make(kind)(batch()[:0])


@for_each_random_layer
def test_without_training_nothing_is_drawn(kind):
    layer, again = make(kind), make(kind)
    layer.sample(COUNT, HEIGHT, WIDTH, training=False)
    assert same(drawn_by(layer), drawn_by(again))


@for_each_random_layer
def test_a_seed_makes_the_draws_repeatable(kind):
    layer, again = make(kind), make(kind)
    assert same(drawn_by(layer), drawn_by(again))


@for_each_random_layer
def test_two_draws_differ(kind):
    layer = make(kind)
    assert not same(drawn_by(layer), drawn_by(layer))


@for_each_random_layer
@pytest.mark.parametrize("seeds", [(1, 2), (None, None)], ids=["two seeds", "no seeds"])
def test_two_layers_draw_differently(kind, seeds):
    layer, other = (make(kind, seed=seed) for seed in seeds)
    assert not same(drawn_by(layer), drawn_by(other))


@pytest.mark.parametrize("distance", [1, 2, 64])
def test_layers_of_neighboring_seeds_have_no_draws_in_common(distance):
    layer, other = (RandomGrayscale(0.5, seed=seed) for seed in (5, 5 + distance))
    draws = [numbers(x.sample(64, 8, 8)) for x in (layer, other) for _ in range(70)]
    assert len(np.unique(draws, axis=0)) == 140


def test_a_compiled_function_takes_batches_of_any_size():
    views_of = view_function(RandomColorDistortion(seed=1))
    images = np.resize(batch(), (18, HEIGHT, WIDTH, 3))
    assert [views_of(images[:count], 0).shape[0] for count in (18, 5)] == [18, 5]


CHANGED = {
    "crop": {
        "image_size": (9, 12),
        "scale": (0.2, 0.9),
        "aspect_ratio": (0.5, 1.5),
        "horizontal_flip": 0.25,
        "min_object_covered": 0.3,
        "interpolation": "bilinear",
        "antialias": True,
    },
    "color distortion": {
        "brightness_factor": 0.1,
        "contrast_factor": 0.2,
        "saturation_factor": 0.3,
        "hue_factor": 0.4,
        "factor": 0.5,
    },
    "grayscale": {"factor": 0.9},
    "solarize": {"factor": 0.9, "threshold": 0.3},
    "blur": {"factor": 0.9, "kernel_size": 5, "sigma": (0.5, 0.7), "border": "renormalize"},
    "center crop": {"image_size": (9, 12), "proportion": 0.7},
    "augmenter": {
        "image_size": (9, 12),
        "strength": 0.3,
        "scale": (0.2, 0.9),
        "aspect_ratio": (0.5, 1.5),
        "horizontal_flip": 0.25,
        "color_distortion": 0.5,
        "grayscale": 0.6,
        "blur": 0.7,
        "min_object_covered": 0.05,
    },
}


def round_trip(layer):
    config = keras.saving.serialize_keras_object(layer)
    return keras.saving.deserialize_keras_object(config)


@for_each_layer
def test_the_config_restores_every_argument(kind):
    arguments = {**CHANGED[kind], "value_range": (-1, 1), "name": "renamed"}
    config = round_trip(make(kind, **arguments)).get_config()
    assert {key: config[key] for key in arguments} == arguments


@for_each_random_layer
def test_a_layer_restored_from_its_config_draws_the_same(kind):
    layer = make(kind, **CHANGED[kind])
    assert same(drawn_by(layer), drawn_by(round_trip(layer)))


def test_a_layer_with_the_generator_of_another_layer_is_restored_from_its_config():
    layer = RandomGrayscale(seed=keras.random.SeedGenerator(3))
    assert same(drawn_by(round_trip(layer)), drawn_by(RandomGrayscale(seed=3)))


@for_each_layer
def test_it_is_restored_with_a_saved_model(kind, tmp_path):
    model = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), make(kind, **CHANGED[kind])])
    model.save(tmp_path / "model.keras")
    config = keras.saving.load_model(tmp_path / "model.keras").layers[0].get_config()
    for key, value in CHANGED[kind].items():
        restored = config[key]
        assert (tuple(restored) if isinstance(value, tuple) else restored) == value


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


IDENTITY = {"center crop": {"image_size": (HEIGHT, WIDTH), "proportion": 1.0}}
IDENTITY |= dict.fromkeys(["crop", "augmenter"], {"image_size": (HEIGHT, WIDTH)})


@for_each_layer
def test_a_half_precision_policy_rounds_nothing(kind, half_precision):
    images = (batch() * 0.9973).astype("float32")
    training = {} if kind == "center crop" else {"training": False}
    found = make(kind, **IDENTITY.get(kind, {}))(images, **training)
    np.testing.assert_allclose(numbers(found), images, atol=1e-3)
    assert numbers(found).dtype == np.float32


@for_each_layer
def test_a_half_precision_model_rounds_no_views(kind, half_precision):
    found = numbers(keras.Sequential([make(kind)])(batch(), training=True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(kind), atol=1e-3)
