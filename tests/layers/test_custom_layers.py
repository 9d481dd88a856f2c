"""The list `custom` of `SimCLRAugmenter`."""

import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    RandomGrayscale,
    RandomRotate90,
    RandomSolarize,
    SimCLRAugmenter,
)
from keras_simclr.layers.views import view_function


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def built(**arguments):
    """Return an augmenter for images of 28 x 22 pixels."""
    augmenter = SimCLRAugmenter(**{"seed": 21, **arguments})
    augmenter.build((None, 28, 22, 3))
    return augmenter


CUSTOM = {
    "erasing": lambda: keras.layers.RandomErasing(1.0, seed=1),
    "vertical flip": lambda: keras.layers.RandomFlip("vertical", seed=1),
    "noise": lambda: keras.layers.GaussianNoise(0.2, seed=1),
    "solarize": lambda: RandomSolarize(1.0, seed=1),
    "rotation": lambda: RandomRotate90(seed=1),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.once] * (kind not in ("noise", "solarize")))
        for kind in CUSTOM
    ],
)
def test_custom_layers_change_each_view_after_the_papers_transforms(kind, images):
    copies = np.repeat(images[:1], 32, axis=0)
    upper = 1 if kind == "noise" else 255
    shared = {"image_size": 20, "value_range": (0, upper)}
    views_of, plain_of = (
        view_function(built(custom=custom, **shared)) for custom in ([CUSTOM[kind]()], [])
    )
    copies = (copies / 255 * upper).astype("float32")
    views = views_of(copies, 0) * (255 / upper)
    changes = np.abs(views - plain_of(copies, 0) * (255 / upper)).max(axis=(1, 2, 3))
    assert (changes > 5).sum() >= 8
    assert len(np.unique(np.round(changes, 2))) > 1
    assert views.min() >= 0 and views.max() <= 255.001


def test_custom_layers_are_applied_in_order(images):
    augmenter = built(custom=[RandomSolarize(1.0, 0.0, seed=1), RandomGrayscale(1.0)])
    views = numbers(augmenter(images))
    plain = numbers(RandomGrayscale(1.0)(255 - numbers(built()(images))))
    np.testing.assert_allclose(views, plain, atol=0.05)


def test_custom_layers_do_nothing_without_training(images):
    custom = [make() for make in CUSTOM.values()]
    found = numbers(built(image_size=20, custom=custom)(images, training=False))
    plain = numbers(built(image_size=20)(images, training=False))
    np.testing.assert_allclose(found, plain, atol=1e-3)


def test_custom_layers_may_change_the_size(images):
    augmenter = built(custom=[keras.layers.Resizing(9, 10)])
    assert tuple(augmenter(images).shape) == (5, 9, 10, 3)
    assert tuple(augmenter(keras.Input((28, 22, 3))).shape) == (None, 9, 10, 3)


def test_custom_layers_are_restored_from_the_config(images):
    augmenter = built(image_size=20, custom=[make() for make in CUSTOM.values()])
    config = keras.saving.serialize_keras_object(augmenter)
    again = keras.saving.deserialize_keras_object(config)
    views = view_function(augmenter)(images, 3)
    np.testing.assert_allclose(view_function(again)(images, 3), views, atol=1e-3)


def test_a_custom_layer_that_cannot_be_applied_to_the_views_raises_when_built():
    with pytest.raises(ValueError, match="Only square images"):
        built(custom=[RandomRotate90()])


def test_custom_layers_inherit_the_value_range_of_the_augmenter():
    solarize, gray = RandomSolarize(), RandomGrayscale()
    SimCLRAugmenter(custom=[solarize, keras.Sequential([gray])], value_range=(0, 1))
    assert solarize.value_range == gray.value_range == (0, 1)


def test_a_custom_layer_with_another_value_range_raises():
    with pytest.raises(ValueError, match=r"value_range=\(0, 255\) for the layer 'erasing'"):
        SimCLRAugmenter(custom=[keras.layers.RandomErasing(name="erasing")], value_range=(0, 1))
