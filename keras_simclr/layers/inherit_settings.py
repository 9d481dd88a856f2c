"""Settings of a model that the layers of its augmenter inherit."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_simclr.keras_internals import flatten_layers
from keras_simclr.layers.image_layer import inherit_value_range
from keras_simclr.layers.random_resized_crop import RandomResizedCrop
from keras_simclr.layers.simclr_augmenter import SimCLRAugmenter
from keras_simclr.layers.two_augmenters import TwoAugmenters
from keras_simclr.validation import check_value_range, size_pair


def inherit_settings(
    augmenter: keras.layers.Layer,
    value_range: tuple[float, float],
    image_size: int | tuple[int, int] | None = None,
) -> None:
    """Let the layers of an augmenter inherit the settings of the model that they were not given.

    Args:
        augmenter: Any Keras layer from images to images. The layers of this package in it
            inherit `value_range`; those that crop inherit `image_size`, unless they are inside
            another such layer, for example in its `custom`.
        value_range: (lower, upper) of the model's images.
        image_size: (height, width) of the model's views, an int, or None if it was not given.

    Raises:
        ValueError: If a layer was given a different setting, or has the data format
            "channels_first". No layer then inherits anything.

    Example:
    >>> augmenter = SimCLRAugmenter(seed=0)
    >>> inherit_settings(augmenter, value_range=(0, 1), image_size=96)
    >>> augmenter.value_range, augmenter.image_size
    ((0, 1), (96, 96))
    """
    size = size_pair(image_size)
    crops = [] if size is None else list(_crops(augmenter))
    for layer in flatten_layers(augmenter):
        _check_data_format(layer)
    for layer, is_last in crops:
        if is_last:
            _check_image_size(layer, size)
    inherit_value_range(augmenter, check_value_range(value_range))
    for layer, _ in crops:
        layer.image_size = layer.image_size or size


def _crops(layer: Any, is_last: bool = True) -> Iterator[tuple[Any, bool]]:
    """Yield the layers that crop, and whether their output is that of the augmenter."""
    if isinstance(layer, TwoAugmenters):
        yield from _crops(layer.first)
        yield from _crops(layer.second)
    elif isinstance(layer, (keras.Sequential, keras.layers.Pipeline)):
        for inner in layer.layers:
            yield from _crops(inner, is_last and inner is layer.layers[-1])
    elif isinstance(layer, SimCLRAugmenter):
        yield layer, is_last and not layer.custom
    elif isinstance(layer, RandomResizedCrop):
        yield layer, is_last


def _check_image_size(layer, size):
    if layer.image_size not in (None, size):
        raise ValueError(
            "`image_size` must be the same for the model and its augmenter. Received: "
            f"image_size={layer.image_size} for the layer {layer.name!r}, and {size} for the "
            "model. Pass it to one of them only."
        )


def _check_data_format(layer):
    if getattr(layer, "data_format", None) == "channels_first":
        raise ValueError(
            "Images must be channels last, and so must the layers of the augmenter. Received: "
            f"data_format='channels_first' for the layer {layer.name!r}. Create it with "
            "data_format='channels_last', or call "
            "keras.config.set_image_data_format('channels_last') first."
        )
