"""The middle of the picture, resized: how the authors look at pictures in evaluation."""

import keras
from keras import ops

from keras_simclr.layers.interpolation import interpolation_taps
from keras_simclr.layers.random_resized_crop import size_pair
from keras_simclr.layers.random_transform import (
    check_value_range,
    from_unit_range,
    is_number,
    to_unit_range,
)
from keras_simclr.training.execution import clip
from keras_simclr.training.resampling import resample


@keras.saving.register_keras_serializable(package="keras_simclr")
class CenterCrop(keras.layers.Layer):
    """Cut the middle out of pictures and resize it by a bicubic kernel.

    The box has the aspect ratio of `image_size` and takes up `proportion` of the side that
    bounds it.

    Args:
        image_size: (height, width) that comes out, or an int.
        proportion: Share of the bounding side, in (0, 1]. Defaults to 0.875.
        value_range: (low, high) of the pictures, to which values are clipped. Defaults to
            (0, 255).
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C): (N, *image_size, C), float32.

    Raises:
        ValueError: If `proportion` is out of its range.

    Example:
    >>> import numpy as np
    >>> tuple(CenterCrop(96)(np.zeros((2, 120, 100, 3), "uint8")).shape)
    (2, 96, 96, 3)

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix B; the authors' evaluation code.
    """

    def __init__(self, image_size, proportion=0.875, value_range=(0, 255), **kwargs):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        if not is_number(proportion) or not 0 < proportion <= 1:
            raise ValueError(
                f"`proportion` must lie above 0 and up to 1. Received: proportion={proportion!r}."
            )
        self.image_size = size_pair(image_size)
        self.proportion = proportion
        self.value_range = check_value_range(value_range)

    def call(self, images):
        """Cut and resize."""
        height, width = images.shape[1:3]
        taps = [
            interpolation_taps(
                *(ops.full((1,), float(v)) for v in box), None, size, out_size, "bicubic"
            )
            for box, size, out_size in zip(
                self._box(height, width), (height, width), self.image_size, strict=True
            )
        ]
        planes = resample(to_unit_range(images, self.value_range), *taps)
        pictures = ops.transpose(clip(planes, 0.0, 1.0), (0, 2, 3, 1))
        return from_unit_range(pictures, self.value_range)

    def _box(self, height, width):
        """Return (top, height) and (left, width) of the box."""
        ratio = self.image_size[1] / self.image_size[0]
        if ratio > width / height:
            box = self.proportion / ratio * width, self.proportion * width
        else:
            box = self.proportion * height, self.proportion * ratio * height
        parts = (max(1, round(side)) for side in box)
        return [
            ((whole - part + 1) // 2, part)
            for whole, part in zip((height, width), parts, strict=True)
        ]

    def compute_output_shape(self, input_shape):
        """Return (N, *image_size, C)."""
        return (input_shape[0], *self.image_size, input_shape[-1])

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "proportion": self.proportion,
            "value_range": self.value_range,
        }
