"""Base class of the image layers: float32 images in a value range."""

from typing import Any

import keras
from keras import ops

from keras_simclr.keras_internals import flatten_layers
from keras_simclr.validation import check_value_range, is_integer, is_pair


@keras.saving.register_keras_serializable(package="keras_simclr")
class ImageLayer(keras.layers.Layer):
    """Base class of layers from images to images, which are always channels last.

    Args:
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, value_range: tuple[float, float] | None = None, **kwargs: Any):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.given_value_range = None if value_range is None else check_value_range(value_range)

    @property
    def value_range(self) -> tuple[float, float]:
        """(lower, upper) of the images."""
        return (0, 255) if self.given_value_range is None else self.given_value_range

    def to_unit_range(self, images: Any) -> Any:
        """Return images in `value_range` as float32 images in [0, 1]."""
        lower, upper = self.value_range
        is_cast = keras.backend.standardize_dtype(images.dtype) != "float32"
        images = ops.cast(images, "float32")
        if lower:
            images = images - lower
        elif not is_cast:
            return images * (1 / upper)  # not in place on PyTorch
        images *= 1 / (upper - lower)
        return images

    def from_unit_range(self, images: Any) -> Any:
        """Return images in [0, 1] as images in `value_range`, on PyTorch in the same memory."""
        lower, upper = self.value_range
        images *= upper - lower
        if lower:
            images += lower
        return images

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {**super().get_config(), "value_range": self.given_value_range}


def inherit_value_range(layer: Any, value_range: tuple[float, float]) -> None:
    """Set the value range of a layer and of all layers inside it that were not given one.

    Raises:
        ValueError: If one of them, or a layer of another package, has a different value range.
    """
    inner = flatten_layers(layer)
    for one in inner:
        own: Any = getattr(one, "given_value_range", getattr(one, "value_range", None))
        if is_pair(own) and tuple(own) != tuple(value_range):
            raise ValueError(
                "`value_range` must be the same for a model, its augmenter and the layers of the "
                f"augmenter. Received: value_range={tuple(own)} for the layer {one.name!r}, and "
                f"{tuple(value_range)} for the model or layer around it. Create all of them with "
                "the range of the images."
            )
    for one in inner:
        if isinstance(one, ImageLayer):
            one.given_value_range = tuple(value_range)


def check_static_size(layer: keras.layers.Layer, *size: Any) -> None:
    """Raise a ValueError unless height and width are known, also while a function is traced."""
    if not all(map(is_integer, size)):
        raise ValueError(
            f"The layer {layer.name!r} must know the height and width of the images before it is "
            "called. Received: images of unknown size. Pass `image_size` to the layer that crops, "
            "or set the shape of the images in the dataset with `tf.ensure_shape`."
        )
