import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    CenterCropAndResize,
    RandomColorDistortion,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    RandomRotate90,
    RandomSolarize,
    SimCLRAugmenter,
    TwoAugmenters,
)
from keras_simclr.layers.inherit_settings import inherit_settings

pytestmark = pytest.mark.once

MAKE = {
    "crop": RandomResizedCrop,
    "color distortion": RandomColorDistortion,
    "grayscale": RandomGrayscale,
    "blur": RandomGaussianBlur,
    "solarize": RandomSolarize,
    "rotate": RandomRotate90,
    "center crop": lambda **arguments: CenterCropAndResize(8, **arguments),
    "augmenter": SimCLRAugmenter,
}
WRAP = {
    "alone": lambda layer: layer,
    "in a Sequential": lambda layer: keras.Sequential([layer, keras.layers.RandomFlip()]),
    "in a Pipeline": lambda layer: keras.layers.Pipeline([keras.layers.RandomFlip(), layer]),
    "in a nested Sequential": lambda layer: keras.Sequential([keras.Sequential([layer])]),
    "first of two": lambda layer: TwoAugmenters(layer, keras.layers.RandomFlip()),
    "second of two": lambda layer: TwoAugmenters(keras.layers.RandomFlip(), layer),
    "custom": lambda layer: SimCLRAugmenter(custom=[layer]),
    "in a custom Sequential": lambda layer: SimCLRAugmenter(custom=[keras.Sequential([layer])]),
}
NOT_CUSTOM = [place for place in WRAP if "custom" not in place]

for_each_layer = pytest.mark.parametrize("kind", MAKE)
for_each_place = pytest.mark.parametrize("place", WRAP)


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def restored(layer):
    config = keras.saving.serialize_keras_object(layer)
    return keras.saving.deserialize_keras_object(config)


@for_each_layer
def test_a_value_range_that_is_not_given_is_0_to_255(kind):
    layer = MAKE[kind]()
    assert layer.value_range == (0, 255)
    assert layer.get_config()["value_range"] is None


@for_each_layer
def test_a_layer_inherits_the_value_range(kind):
    layer = MAKE[kind]()
    inherit_settings(layer, (0, 10_000))
    assert layer.value_range == restored(layer).value_range == (0, 10_000)


@for_each_place
def test_a_layer_inherits_the_value_range_wherever_it_is(place):
    layer = RandomSolarize()
    inherit_settings(WRAP[place](layer), (-1, 1))
    assert layer.value_range == (-1, 1)


@for_each_place
def test_another_value_range_raises_wherever_it_is(place):
    augmenter = WRAP[place](RandomSolarize(value_range=(0, 1), name="solarize"))
    received = (
        r"value_range=\(0, 1\) for the layer 'solarize', and \(0, 255\) .*range of the images"
    )
    with pytest.raises(ValueError, match=received):
        inherit_settings(augmenter, (0, 255))


@for_each_layer
def test_the_value_range_of_the_model_may_be_given_again(kind):
    layer = MAKE[kind](value_range=(0, 1))
    inherit_settings(layer, [0.0, 1.0])
    assert layer.value_range == (0, 1)


def test_after_an_error_no_layer_has_inherited_anything():
    layers = [RandomSolarize(), SimCLRAugmenter(), RandomGrayscale(value_range=(0, 255))]
    with pytest.raises(ValueError, match="value_range"):
        inherit_settings(keras.Sequential(layers), (0, 1), 32)
    assert [layer.get_config()["value_range"] for layer in layers] == [None, None, (0, 255)]
    assert layers[1].image_size is None


def test_the_same_settings_may_be_inherited_twice():
    augmenter = SimCLRAugmenter(custom=[RandomSolarize()])
    for _ in range(2):
        inherit_settings(augmenter, (0, 1), (24, 20))
    assert augmenter.value_range == (0, 1) and augmenter.image_size == (24, 20)


@pytest.mark.parametrize("settings", [((0, 255), 24), ((0, 1), 20)], ids=["range", "size"])
def test_a_layer_that_has_inherited_settings_raises_for_others(settings):
    augmenter = SimCLRAugmenter()
    inherit_settings(augmenter, (0, 1), 24)
    with pytest.raises(ValueError, match="must be the same"):
        inherit_settings(augmenter, *settings)


OF_KERAS = {
    "brightness": lambda **arguments: keras.layers.RandomBrightness(0.1, **arguments),
    "contrast": lambda **arguments: keras.layers.RandomContrast(0.1, **arguments),
    "jitter": keras.layers.RandomColorJitter,
    "solarization": keras.layers.Solarization,
    "erasing": keras.layers.RandomErasing,
    "many": keras.layers.RandAugment,
    "mix": keras.layers.AugMix,
}


@pytest.mark.parametrize("kind", OF_KERAS)
def test_a_keras_layer_with_another_value_range_raises(kind):
    augmenter = keras.Sequential([keras.layers.RandomFlip(), OF_KERAS[kind](name="of_keras")])
    received = r"value_range=\(0, 255\) for the layer 'of_keras', and \(0, 1\)"
    with pytest.raises(ValueError, match=received):
        inherit_settings(augmenter, (0, 1))


@pytest.mark.parametrize("kind", OF_KERAS)
def test_a_keras_layer_with_the_value_range_of_the_model_is_accepted(kind):
    inherit_settings(keras.Sequential([OF_KERAS[kind](value_range=(0, 1))]), (0, 1))


@pytest.mark.parametrize("place", NOT_CUSTOM)
@pytest.mark.parametrize("layer_class", [SimCLRAugmenter, RandomResizedCrop])
def test_a_layer_that_crops_inherits_the_image_size(layer_class, place):
    layer = layer_class()
    inherit_settings(WRAP[place](layer), (0, 255), (24, 20))
    assert layer.image_size == restored(layer).image_size == (24, 20)


@pytest.mark.parametrize("place", ["custom", "in a custom Sequential"])
def test_a_custom_layer_inherits_no_image_size(place):
    layer = RandomResizedCrop()
    inherit_settings(WRAP[place](layer), (0, 255), 24)
    assert layer.image_size is None


def test_without_an_image_size_of_the_model_none_is_inherited():
    augmenter = SimCLRAugmenter(20)
    inherit_settings(augmenter, (0, 255))
    assert augmenter.image_size == (20, 20)


LAST = ["alone", "in a Pipeline", "in a nested Sequential", "first of two", "second of two"]


@pytest.mark.parametrize("place", LAST)
@pytest.mark.parametrize("layer_class", [SimCLRAugmenter, RandomResizedCrop])
def test_another_image_size_raises(layer_class, place):
    augmenter = WRAP[place](layer_class(20, name="crop"))
    received = r"image_size=\(20, 20\) for the layer 'crop', and \(24, 24\) for the model"
    with pytest.raises(ValueError, match=received):
        inherit_settings(augmenter, (0, 255), 24)


def test_a_layer_may_crop_to_another_size_before_views_are_resized():
    resizing = keras.layers.Resizing(24, 24)
    for augmenter in (
        SimCLRAugmenter(20, custom=[resizing]),
        keras.Sequential([RandomResizedCrop(20), resizing]),
    ):
        inherit_settings(augmenter, (0, 255), 24)
        assert tuple(augmenter(np.zeros((2, 28, 28, 3))).shape) == (2, 24, 24, 3)


@for_each_place
def test_a_channels_first_layer_raises(place):
    first = keras.layers.RandomFlip(data_format="channels_first", name="flip")
    with pytest.raises(ValueError, match="'channels_first' for the layer 'flip'. Create it with"):
        inherit_settings(WRAP[place](first), (0, 255))


def test_views_scale_with_the_value_range_that_is_inherited(images):
    scaled, plain = (
        SimCLRAugmenter(20, blur=0.5, custom=[RandomSolarize(0.5, seed=2)], seed=1)
        for _ in range(2)
    )
    inherit_settings(scaled, (0, 10_000))
    found = numbers(scaled(images.astype("float32") * (10_000 / 255))) * (255 / 10_000)
    np.testing.assert_allclose(found, numbers(plain(images)), atol=1e-2)


def test_a_layer_restored_after_inheriting_has_the_same_views(images):
    augmenter = TwoAugmenters(
        keras.Sequential([SimCLRAugmenter(seed=1), RandomSolarize(0.5, seed=2)]),
        SimCLRAugmenter(custom=[RandomSolarize(0.5, seed=3)], seed=4),
    )
    inherit_settings(augmenter, (0, 1), (20, 24))
    given = (images[:4] / 255).astype("float32")
    views = numbers(restored(augmenter)(given, training=True))
    assert views.shape == (4, 20, 24, 3)
    np.testing.assert_allclose(views, numbers(augmenter(given, training=True)), atol=1e-5)
