"""Random crop, resized and flipped."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr.layers.image_layer import check_static_size
from keras_simclr.layers.random_transform import RandomTransform, between
from keras_simclr.ops.interpolation import RADII, Taps, interpolation_taps
from keras_simclr.ops.resampling import resample
from keras_simclr.validation import (
    check_choice,
    check_interval,
    check_probability,
    is_number,
    size_pair,
)

ATTEMPTS = 10  # boxes drawn for each image; the first valid one is used
MIN_SIZE = 4  # pixels


class Crop(NamedTuple):
    """Boxes in pixels of the image, each of shape (N,), and whether they are flipped."""

    top: Any
    left: Any
    height: Any
    width: Any
    flip: Any


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomResizedCrop(RandomTransform):
    """Crop a random box out of each image, resize it, and randomly flip it.

    Boxes are distributed as in the authors' code: the aspect ratio is drawn uniformly, then the
    height, then the position; boxes that cover too little of the image are drawn again. Crop,
    resizing and flip are two matrix products. Values are not clipped.

    Args:
        image_size: (height, width) of the output, or an int. Defaults to the model's, otherwise
            that of the images.
        scale: (lower, upper) area of the box, as a fraction of the image's. Defaults to
            (0.08, 1.0).
        aspect_ratio: (lower, upper) width / height of the box, relative to that of `image_size`.
            Defaults to (3/4, 4/3).
        horizontal_flip: Probability of a horizontal flip. Defaults to 0.0.
        min_object_covered: Lower bound of the area, in addition to `scale`. Defaults to 0.1, as
            in the authors' code.
        interpolation: "bicubic" (default) or "bilinear".
        antialias: Whether to average pixels when shrinking. Defaults to False, as in the authors'
            code.
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype. On TensorFlow, H and W may be unknown if
        `image_size` is given and `antialias` is False.

    Output shape:
        (N, *image_size, C), float32. With `training=False` the whole image is resized.

    Raises:
        ValueError: If an argument is out of its range, or the images are too small or of unknown
            size.

    Example:
    >>> import numpy as np
    >>> crop = RandomResizedCrop(24, seed=0)
    >>> tuple(crop(np.zeros((2, 32, 40, 3), "uint8")).shape)
    (2, 24, 24, 3)

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        horizontal_flip: float = 0.0,
        min_object_covered: float = 0.1,
        interpolation: str = "bicubic",
        antialias: bool = False,
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("horizontal_flip", horizontal_flip)
        check_probability("min_object_covered", min_object_covered)
        check_choice("interpolation", interpolation, tuple(RADII))
        self.image_size = size_pair(image_size)
        self.scale = check_interval("scale", scale, 1)
        check_covered(min_object_covered, self.scale)
        self.aspect_ratio = check_interval("aspect_ratio", aspect_ratio)
        self.horizontal_flip = horizontal_flip
        self.min_object_covered = min_object_covered
        self.interpolation = interpolation
        self.antialias = antialias

    def build(self, input_shape: tuple) -> None:
        """Check the size of the images."""
        check_min_size(input_shape)

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> Crop:
        """Draw a `Crop`; with `training=False`, the whole image."""
        height, width = _as_float(height), _as_float(width)
        if not training:
            zero = ops.zeros((batch_size,), dtype="float32")
            return Crop(zero, zero, zero + height, zero + width, zero > 1)
        numbers = self.uniform((batch_size, 2 * ATTEMPTS + 3))
        boxes, (top, left, flip) = numbers[:, 3:], ops.unstack(numbers[:, :3], 3, axis=1)
        box_height, box_width = self._draw_boxes(boxes, height, width)
        top = _integer(top, ops.maximum(height - box_height, 1))
        left = _integer(left, ops.maximum(width - box_width, 1))
        return Crop(top, left, box_height, box_width, flip < self.horizontal_flip)

    def prepare(self, parameters: Crop, input_shape: tuple) -> Any:
        """Compute the taps of rows and of columns; those of rows also scale to the unit range."""
        height, width = input_shape[1:3]
        if self.image_size is None or self.antialias:
            check_static_size(self, height, width)
        out_height, out_width = self.image_size or (height, width)
        options: Any = {"kernel": self.interpolation, "antialias": self.antialias}
        top, left, box_height, box_width, flip = parameters
        first, weights = interpolation_taps(top, box_height, None, height, out_height, **options)
        lower, upper = self.value_range
        rows = Taps(first, weights / (upper - lower))
        return rows, interpolation_taps(left, box_width, flip, width, out_width, **options)

    def enter(self, images: Any, prepared: Any) -> Any:
        """Crop, resize and flip."""
        planes = resample(images, *prepared)
        lower, upper = self.value_range
        if lower:
            planes -= lower / (upper - lower)
        return planes

    def applied_shape(self, input_shape: tuple) -> tuple:
        """Return (N, *image_size, C)."""
        return (input_shape[0], *(self.image_size or input_shape[1:3]), input_shape[-1])

    def _draw_boxes(self, numbers, height, width):
        """Draw sizes of boxes as TensorFlow's `sample_distorted_bounding_box` does."""
        out_height, out_width = self.image_size or (height, width)
        ratio = between(numbers[:, :ATTEMPTS], *self.aspect_ratio) * (out_width / out_height)
        min_area, max_area = (_area(fraction, height, width) for fraction in self.scale)
        covered = _area(max(self.scale[0], self.min_object_covered), height, width)
        lower = ops.round(ops.sqrt(min_area / ratio))
        upper = ops.minimum(_max_height(ratio, max_area, width), height)
        lower = ops.minimum(lower, upper)
        box_height = lower + _integer(numbers[:, ATTEMPTS:], upper - lower + 1)
        box_width = ops.round(box_height * ratio)
        for step, bound, exceeds in ((1.0, min_area, ops.less), (-1.0, max_area, ops.greater)):
            moved = ops.where(exceeds(box_height * box_width, bound), box_height + step, box_height)
            box_height, box_width = moved, ops.round(moved * ratio)
        valid = _all(
            box_height * box_width >= covered,
            box_height * box_width <= max_area,
            box_height <= height,
            box_width <= width,
            box_height >= 1,
            box_width >= 1,
        )
        return _first(valid, box_height, height), _first(valid, box_width, width)

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "scale": self.scale,
            "aspect_ratio": self.aspect_ratio,
            "horizontal_flip": self.horizontal_flip,
            "min_object_covered": self.min_object_covered,
            "interpolation": self.interpolation,
            "antialias": self.antialias,
        }


def check_covered(min_object_covered: float, scale: tuple[float, float]) -> None:
    """Raise a ValueError if no box of these areas covers as much as it must."""
    if min_object_covered > scale[1]:
        raise ValueError(
            "`min_object_covered` must be at most the upper limit of `scale`, or all crops are "
            f"whole images. Received: {min_object_covered=}, {scale=}. Pass a smaller "
            "`min_object_covered`."
        )


def check_min_size(input_shape: tuple) -> None:
    """Raise a ValueError if images of `input_shape` are too small to be cropped."""
    height, width = input_shape[1:3]
    if min(height or MIN_SIZE, width or MIN_SIZE) < MIN_SIZE:
        raise ValueError(
            f"Images must have a height and width of at least {MIN_SIZE} pixels to be cropped. "
            f"Received: shape={tuple(input_shape)}. Enlarge them first."
        )


def _as_float(side):
    return float(side) if is_number(side) else ops.cast(side, "float32")


def _area(fraction, height, width):
    """Return a fraction of the area, computed in double precision even if sizes are tensors."""
    if is_number(height) and is_number(width):
        return fraction * height * width
    height, width = ops.cast(height, "float64"), ops.cast(width, "float64")
    return ops.cast(fraction * height * width, "float32")


def _max_height(ratio, max_area, width):
    """Return the largest height of a box that exceeds neither the area nor the image's width."""
    upper = ops.round(ops.sqrt(max_area / ratio))
    too_wide = ops.round(upper * ratio) > width
    fitting = ops.floor((width + 0.5) / ratio)
    fitting = ops.where(ops.round(fitting * ratio) > width, fitting - 1, fitting)
    return ops.where(too_wide, fitting, upper)


def _integer(uniform, count):
    """Turn numbers from [0, 1) into integers from 0 to count - 1."""
    return ops.minimum(ops.floor(uniform * count), count - 1)


def _all(*conditions):
    result = conditions[0]
    for condition in conditions[1:]:
        result = ops.logical_and(result, condition)
    return result


def _first(valid, values, otherwise):
    """Return the first valid one of `values` in each row, or `otherwise`."""
    index = ops.expand_dims(ops.argmax(ops.cast(valid, "int32"), axis=1), 1)
    first = ops.take_along_axis(values, index, axis=1)[:, 0]
    return ops.where(ops.any(valid, axis=1), first, otherwise)
