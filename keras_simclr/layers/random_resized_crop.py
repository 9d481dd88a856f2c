"""A random part of the picture, resized, and mirrored or not."""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr.layers.interpolation import check_kernel, interpolation_taps
from keras_simclr.layers.random_transform import (
    RandomTransform,
    check_probability,
    is_number,
    is_pair,
)
from keras_simclr.training.resampling import resample

ATTEMPTS = 10  # boxes drawn for each picture, of which the first that is allowed counts
SMALLEST = 4  # pixels a side


class Crop(NamedTuple):
    """Boxes in pixels of the picture, each of shape (N,), and whether they are mirrored."""

    top: Any
    left: Any
    height: Any
    width: Any
    flip: Any


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomResizedCrop(RandomTransform):
    """Cut a random box out of each picture, resize it, and mirror it or not.

    The boxes have the distribution of the authors' code: the aspect ratio is uniform, then the
    height, then the place; boxes that cover less than `min_object_covered` are drawn again.
    Crop, resizing and mirroring are one pair of matrix products. Values are not clipped.

    Args:
        image_size: (height, width) that comes out, or an int. Defaults to that of the pictures.
        area: (least, most) share of the picture. Defaults to (0.08, 1.0).
        aspect_ratio: (least, most) width / height of the box, times that of `image_size`.
            Defaults to (3/4, 4/3).
        horizontal_flip: Probability to mirror. Defaults to 0.0.
        min_object_covered: Least share of the picture that counts, above `area`'s own if larger.
            Defaults to 0.1, as the authors'.
        interpolation: "bicubic" (default) or "bilinear".
        antialias: Whether to average when shrinking. Defaults to False, as the authors'.
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C): (N, *image_size, C), float32. With
        `training=False` the whole picture is resized.

    Raises:
        ValueError: If an argument is out of its range or the pictures are too small.

    Example:
    >>> import numpy as np
    >>> crop = RandomResizedCrop(24, seed=0)
    >>> tuple(crop(np.zeros((2, 32, 40, 3), "uint8")).shape)
    (2, 24, 24, 3)

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        image_size=None,
        area=(0.08, 1.0),
        aspect_ratio=(3 / 4, 4 / 3),
        horizontal_flip=0.0,
        min_object_covered=0.1,
        interpolation="bicubic",
        antialias=False,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_interval("area", area, highest=1)
        check_interval("aspect_ratio", aspect_ratio)
        check_probability("horizontal_flip", horizontal_flip)
        check_probability("min_object_covered", min_object_covered)
        check_kernel(interpolation)
        self.image_size = size_pair(image_size)
        self.area = tuple(area)
        self.aspect_ratio = tuple(aspect_ratio)
        self.horizontal_flip = horizontal_flip
        self.min_object_covered = min_object_covered
        self.interpolation = interpolation
        self.antialias = antialias

    def build(self, input_shape):
        """Check the size of the pictures."""
        check_size(input_shape)

    def sample(self, batch_size, height, width, training=True):
        """Draw a `Crop`; with `training=False`, the whole picture."""
        if not training:
            zero = ops.zeros((batch_size,))
            return Crop(zero, zero, zero + float(height), zero + float(width), zero > 1)
        top, left, box_height, box_width = self._boxes(batch_size, float(height), float(width))
        return Crop(
            top, left, box_height, box_width, self.happens(batch_size, self.horizontal_flip)
        )

    def prepare(self, parameters, input_shape):
        """Compute which pixels count, for rows and for columns."""
        height, width = input_shape[1:3]
        out_height, out_width = self.image_size or (height, width)
        options = {"kernel": self.interpolation, "antialias": self.antialias}
        top, left, box_height, box_width, flip = parameters
        return (
            interpolation_taps(top, box_height, None, height, out_height, **options),
            interpolation_taps(left, box_width, flip, width, out_width, **options),
        )

    def enter(self, images, prepared):
        """Cut, resize and mirror."""
        return resample(images, *prepared)

    def applied_shape(self, input_shape):
        """Return (N, *image_size, C)."""
        return (input_shape[0], *(self.image_size or input_shape[1:3]), input_shape[-1])

    def _boxes(self, batch_size, height, width):
        """Draw boxes as TensorFlow's `sample_distorted_bounding_box` does."""
        shape = (batch_size, ATTEMPTS)
        out_height, out_width = self.image_size or (height, width)
        ratio = self.uniform(shape, *self.aspect_ratio) * (out_width / out_height)
        least, most = (share * height * width for share in self.area)
        lowest = ops.round(ops.sqrt(least / ratio))
        highest = ops.minimum(_highest(ratio, most, width), height)
        lowest = ops.minimum(lowest, highest)
        box_height = lowest + _integer(self.uniform(shape), highest - lowest + 1)
        box_width = ops.round(box_height * ratio)
        for step, wrong in ((1.0, ops.less), (-1.0, ops.greater)):
            bound = least if step > 0 else most
            moved = ops.where(wrong(box_height * box_width, bound), box_height + step, box_height)
            box_height, box_width = moved, ops.round(moved * ratio)
        covered = box_height * box_width
        allowed = _all(
            covered >= max(least, self.min_object_covered * height * width),
            covered <= most,
            box_height <= height,
            box_width <= width,
            box_height >= 1,
            box_width >= 1,
        )
        box_height = _first(allowed, box_height, height)
        box_width = _first(allowed, box_width, width)
        top = _integer(self.uniform((batch_size,)), ops.maximum(height - box_height, 1))
        left = _integer(self.uniform((batch_size,)), ops.maximum(width - box_width, 1))
        return top, left, box_height, box_width

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "area": self.area,
            "aspect_ratio": self.aspect_ratio,
            "horizontal_flip": self.horizontal_flip,
            "min_object_covered": self.min_object_covered,
            "interpolation": self.interpolation,
            "antialias": self.antialias,
        }


def size_pair(image_size):
    """Return (height, width) of a size that may be an int or None."""
    if image_size is None:
        return None
    pair = (image_size, image_size) if is_number(image_size) else image_size
    if not is_pair(pair) or any(side < 1 or side != int(side) for side in pair):
        raise ValueError(
            f"`image_size` must be (height, width) in pixels. Received: image_size={image_size!r}."
        )
    return tuple(int(side) for side in pair)


def check_interval(name, interval, highest=None):
    """Raise a ValueError unless `interval` is (least, most), positive and in order."""
    if not is_pair(interval) or not 0 < interval[0] <= interval[1] <= (highest or math.inf):
        bound = f" of at most {highest}" if highest else ""
        raise ValueError(
            f"`{name}` must be (least, most), positive numbers{bound}. "
            f"Received: {name}={interval!r}."
        )


def check_size(input_shape):
    """Raise a ValueError if pictures of `input_shape` are too small to be cropped."""
    height, width = input_shape[1:3]
    if min(height or SMALLEST, width or SMALLEST) < SMALLEST:
        raise ValueError(
            f"Pictures must have at least {SMALLEST} pixels a side to be cropped. Received: "
            f"shape={tuple(input_shape)}. Enlarge them first."
        )


def _highest(ratio, most, width):
    """Return the greatest height whose box keeps to the area and to the picture's width."""
    highest = ops.round(ops.sqrt(most / ratio))
    too_wide = ops.round(highest * ratio) > width
    fitting = ops.floor((width + 0.5) / ratio)
    fitting = ops.where(ops.round(fitting * ratio) > width, fitting - 1, fitting)
    return ops.where(too_wide, fitting, highest)


def _integer(uniform, count):
    """Turn numbers from [0, 1) into whole ones from 0 to count - 1."""
    return ops.minimum(ops.floor(uniform * count), count - 1)


def _all(*conditions):
    result = conditions[0]
    for condition in conditions[1:]:
        result = ops.logical_and(result, condition)
    return result


def _first(allowed, values, otherwise):
    """Return of each row the first of `values` that is allowed, or `otherwise`."""
    chosen = ops.expand_dims(ops.argmax(ops.cast(allowed, "int32"), axis=1), 1)
    first = ops.take_along_axis(values, chosen, axis=1)[:, 0]
    return ops.where(ops.any(allowed, axis=1), first, otherwise)
