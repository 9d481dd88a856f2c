"""What holds for each of the view layers alike."""

import functools

import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    CenterCrop,
    RandomColorJitter,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    RandomSolarize,
    SimCLRAugmenter,
)

SEEDED = {"seed": 9}
LAYERS = {
    "crop": (RandomResizedCrop, {**SEEDED, "image_size": (17, 21), "horizontal_flip": 0.5}),
    "jitter": (RandomColorJitter, {**SEEDED, "probability": 0.7}),
    "grayscale": (RandomGrayscale, {**SEEDED, "probability": 0.5}),
    "solarize": (RandomSolarize, {**SEEDED, "probability": 0.5}),
    "blur": (RandomGaussianBlur, {**SEEDED, "probability": 0.7, "border": "zeros"}),
    "center crop": (CenterCrop, {"image_size": (17, 21)}),
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


def images():
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, size=(COUNT, HEIGHT // 2, WIDTH // 2, 3))
    return coarse.repeat(2, axis=1).repeat(2, axis=2).astype("uint8")


@functools.cache
def parameters(kind):
    drawn = make(kind).sample(COUNT, HEIGHT, WIDTH)
    return keras.tree.map_structure(numbers, drawn)


def views(kind, pictures, **arguments):
    """Return the views by the same parameters in every call."""
    layer = make(kind, **arguments)
    if kind == "center crop":
        return numbers(layer(pictures))
    return numbers(layer.apply(pictures, parameters(kind)))


@functools.cache
def expected(kind):
    return views(kind, images())


def drawn_by(layer):
    drawn = [layer.sample(COUNT, HEIGHT, WIDTH) for _ in range(3)]
    return [numbers(leaf) for leaf in keras.tree.flatten(drawn) if leaf is not None]


def same(drawn, again):
    return all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))


@for_each_layer
def test_it_changes_pictures(kind):
    found = expected(kind)
    assert found.dtype == np.float32
    assert found.shape != images().shape or np.abs(found - images()).max() > 10


@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("crop", "float16"),
        ("jitter", "float64"),
        ("grayscale", "int32"),
        ("grayscale", "float16"),
        ("blur", "int32"),
        ("center crop", "float16"),
        ("augmenter", "float64"),
    ],
)
def test_the_type_of_numbers_makes_no_difference(kind, dtype):
    found = views(kind, images().astype(dtype))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(kind), atol=1e-3)


@for_each_layer
def test_float_pictures_have_the_views_of_integers_and_stay_as_they_are(kind):
    pictures = keras.ops.convert_to_tensor(images().astype("float32"))
    np.testing.assert_allclose(views(kind, pictures), expected(kind), atol=1e-3)
    np.testing.assert_array_equal(numbers(pictures), images())


@pytest.mark.parametrize(
    "kind, low, high", [("augmenter", 0, 1), *((kind, -1, 1) for kind in LAYERS)]
)
def test_the_value_range_makes_no_difference(kind, low, high):
    scaled = (images() / 255 * (high - low) + low).astype("float32")
    found = views(kind, scaled, value_range=(low, high))
    np.testing.assert_allclose((found - low) / (high - low) * 255, expected(kind), atol=2e-3)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("kind", ["crop", "blur", "center crop"])
def test_every_channel_is_treated_alike(kind, channels):
    chosen = [2, 0, 1, 0, 2][:channels]
    found = views(kind, images()[..., chosen])
    np.testing.assert_allclose(found, expected(kind)[..., chosen], atol=1e-3)


@for_each_random_layer
def test_a_call_draws_and_applies_and_integer_pictures_stay_as_they_are(kind):
    pictures = images()
    # `expected` comes from `sample` and `apply` of another layer of the same seed.
    np.testing.assert_allclose(numbers(make(kind)(pictures)), expected(kind), atol=1e-3)
    np.testing.assert_array_equal(pictures, images())


@for_each_random_layer
def test_an_empty_batch_is_refused(kind):
    with pytest.raises(ValueError, match=r"There must be pictures. Received: shape=\(0, 26, 22, 3"):
        make(kind)(images()[:0])


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
def test_every_draw_is_a_new_one(kind):
    layer = make(kind)
    assert not same(drawn_by(layer), drawn_by(layer))


@for_each_random_layer
@pytest.mark.parametrize("seeds", [(1, 2), (None, None)], ids=["two seeds", "no seeds"])
def test_other_layers_draw_differently(kind, seeds):
    layer, other = (make(kind, seed=seed) for seed in seeds)
    assert not same(drawn_by(layer), drawn_by(other))


@pytest.mark.parametrize("distance", [1, 2, 64])
def test_layers_of_neighbouring_seeds_have_no_draws_in_common(distance):
    layer, other = (RandomGrayscale(0.5, seed=seed) for seed in (5, 5 + distance))
    draws = [numbers(x.sample(64, 8, 8)) for x in (layer, other) for _ in range(70)]
    assert len(np.unique(draws, axis=0)) == 140


CHANGED = {
    "crop": {
        "image_size": (9, 12),
        "area": (0.2, 0.9),
        "aspect_ratio": (0.5, 1.5),
        "horizontal_flip": 0.25,
        "min_object_covered": 0.3,
        "interpolation": "bilinear",
        "antialias": True,
    },
    "jitter": {
        "brightness": 0.1,
        "contrast": 0.2,
        "saturation": 0.3,
        "hue": 0.4,
        "probability": 0.5,
    },
    "grayscale": {"probability": 0.9},
    "solarize": {"probability": 0.9, "threshold": 0.3},
    "blur": {"probability": 0.9, "sigma": (0.5, 0.7), "border": "renormalize"},
    "center crop": {"image_size": (9, 12), "proportion": 0.7},
    "augmenter": {
        "image_size": (9, 12),
        "strength": 0.3,
        "area": (0.2, 0.9),
        "aspect_ratio": (0.5, 1.5),
        "horizontal_flip": 0.25,
        "jitter": 0.5,
        "grayscale": 0.6,
        "blur": 0.7,
    },
}


def round_trip(layer):
    config = keras.saving.serialize_keras_object(layer)
    return keras.saving.deserialize_keras_object(config)


@for_each_layer
def test_every_argument_comes_back_from_the_config(kind):
    arguments = {**CHANGED[kind], "value_range": (-1, 1), "name": "renamed"}
    config = round_trip(make(kind, **arguments)).get_config()
    assert {key: config[key] for key in arguments} == arguments


@for_each_random_layer
def test_a_layer_from_its_config_draws_the_same(kind):
    layer = make(kind, **CHANGED[kind])
    assert same(drawn_by(layer), drawn_by(round_trip(layer)))


def test_a_layer_with_the_generator_of_another_comes_back_from_its_config():
    layer = RandomGrayscale(seed=keras.random.SeedGenerator(3))
    assert same(drawn_by(round_trip(layer)), drawn_by(RandomGrayscale(seed=3)))


@for_each_layer
def test_it_comes_back_with_a_saved_model(kind, tmp_path):
    model = keras.Sequential([keras.Input((HEIGHT, WIDTH, 3)), make(kind, **CHANGED[kind])])
    model.save(tmp_path / "model.keras")
    config = keras.saving.load_model(tmp_path / "model.keras").layers[0].get_config()
    for key, value in CHANGED[kind].items():
        came_back = config[key]
        assert (tuple(came_back) if isinstance(value, tuple) else came_back) == value


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


IDENTITY = {"center crop": {"image_size": (HEIGHT, WIDTH), "proportion": 1.0}}
IDENTITY |= dict.fromkeys(["crop", "augmenter"], {"image_size": (HEIGHT, WIDTH)})


@for_each_layer
def test_under_a_policy_of_half_precision_nothing_is_rounded(kind, half_precision):
    pictures = (images() * 0.9973).astype("float32")
    training = {} if kind == "center crop" else {"training": False}
    found = make(kind, **IDENTITY.get(kind, {}))(pictures, **training)
    np.testing.assert_allclose(numbers(found), pictures, atol=1e-3)
    assert numbers(found).dtype == np.float32


@for_each_layer
def test_a_model_of_half_precision_rounds_no_views(kind, half_precision):
    found = numbers(keras.Sequential([make(kind)])(images(), training=True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(kind), atol=1e-3)
