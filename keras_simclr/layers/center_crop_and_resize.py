"""Center crop, resized, as the authors evaluate."""

from typing import Any

import keras
from keras import ops

from keras_simclr.layers.image_layer import ImageLayer, check_static_size
from keras_simclr.ops.in_place import clip
from keras_simclr.ops.interpolation import interpolation_taps
from keras_simclr.ops.resampling import resample
from keras_simclr.validation import is_number, size_pair


@keras.saving.register_keras_serializable(package="keras_simclr")
class CenterCropAndResize(ImageLayer):
    """Crop the center of images and resize it, with bicubic interpolation.

    The box has the aspect ratio of `image_size` and covers `proportion` of the side that limits
    it.

    Args:
        image_size: (height, width) of the output, or an int.
        proportion: Fraction of the limiting side that the box covers, in (0, 1]. Defaults to
            0.875.
        value_range: (lower, upper) of the images, to which values are clipped. Defaults to that
            of the model whose augmenter the layer belongs to, otherwise (0, 255).
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype.

    Output shape:
        (N, *image_size, C), float32.

    Raises:
        ValueError: If an argument is out of its range, or the size of the images is unknown.

    Example:
    >>> import numpy as np
    >>> tuple(CenterCropAndResize(96)(np.zeros((2, 120, 100, 3), "uint8")).shape)
    (2, 96, 96, 3)

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix B; the authors' evaluation code.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int],
        proportion: float = 0.875,
        value_range: tuple[float, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, **kwargs)
        if not is_number(proportion) or not 0 < proportion <= 1:
            raise ValueError(
                f"`proportion` must be a number in (0, 1]. Received: proportion={proportion!r}."
            )
        self.image_size = size_pair(image_size)
        self.proportion = proportion

    def call(self, images: Any) -> Any:
        """Crop and resize images."""
        check_static_size(self, *images.shape[1:3])
        taps = [
            interpolation_taps(_constant(start), _constant(length), None, side, out, "bicubic")
            for (start, length), side, out in zip(
                self._box(*images.shape[1:3]), images.shape[1:3], self.image_size, strict=True
            )
        ]
        planes = resample(self.to_unit_range(images), *taps)
        images = ops.transpose(clip(planes, 0.0, 1.0), (0, 2, 3, 1))
        return self.from_unit_range(images)

    def _box(self, height, width):
        """Return (top, height) and (left, width) of the box."""
        ratio = self.image_size[1] / self.image_size[0]
        if ratio > width / height:
            box = self.proportion / ratio * width, self.proportion * width
        else:
            box = self.proportion * height, self.proportion * ratio * height
        lengths = (max(1, round(side)) for side in box)
        return [
            ((side - length + 1) // 2, length)
            for side, length in zip((height, width), lengths, strict=True)
        ]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return (N, *image_size, C)."""
        return (input_shape[0], *self.image_size, input_shape[-1])

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "proportion": self.proportion,
        }


def _constant(value):
    return ops.full((1,), float(value), dtype="float32")
