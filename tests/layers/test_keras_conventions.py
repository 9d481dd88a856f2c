"""Layers agree with Keras' names and do not depend on Keras' global settings."""

import contextlib
import inspect

import keras
import numpy as np
import pytest

from keras_simclr import layers
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

CLASSES = {name: value for name, value in vars(layers).items() if inspect.isclass(value)}
MAKE = {
    "crop": lambda: RandomResizedCrop(17, horizontal_flip=0.5, seed=1),
    "color distortion": lambda: RandomColorDistortion(seed=1),
    "grayscale": lambda: RandomGrayscale(0.5, seed=1),
    "blur": lambda: RandomGaussianBlur(kernel_size=3, seed=1),
    "solarize": lambda: RandomSolarize(0.5, seed=1),
    "rotate": lambda: RandomRotate90(seed=1),
    "center crop": lambda: CenterCropAndResize(17),
    "augmenter": lambda: SimCLRAugmenter(17, blur=0.5, custom=[RandomRotate90(seed=2)], seed=1),
    "two": lambda: TwoAugmenters(SimCLRAugmenter(17, seed=1), SimCLRAugmenter(17, seed=2)),
}


def parameters(layer_class):
    return set(inspect.signature(layer_class).parameters)


@pytest.mark.parametrize("name", sorted(set(CLASSES) & set(dir(keras.layers))))
def test_a_layer_named_like_one_of_keras_takes_its_arguments(name):
    of_keras = parameters(getattr(keras.layers, name)) - {"data_format", "kwargs"}
    assert of_keras <= parameters(CLASSES[name])


@contextlib.contextmanager
def floatx(name):
    before = keras.config.floatx()
    keras.config.set_floatx(name)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


@contextlib.contextmanager
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def views(kind, images):
    """Return the views of training and of inference."""
    layer = MAKE[kind]()
    calls = [{}] if kind == "center crop" else [{"training": True}, {"training": False}]
    return [keras.ops.convert_to_numpy(layer(images, **arguments)) for arguments in calls]


SETTINGS = {
    "float64": lambda: floatx("float64"),
    "float16": lambda: floatx("float16"),
    "channels_first": channels_first,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", MAKE)
def test_global_settings_do_not_change_the_views(kind, setting, images):
    images = images[:4, :22]
    expected = views(kind, images)
    with SETTINGS[setting]():
        found = views(kind, images)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-4)
