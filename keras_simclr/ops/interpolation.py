"""Weights for resizing an axis of an image."""

import math
from typing import Any, NamedTuple

from keras import ops

RADII = {"bicubic": 2, "bilinear": 1}  # pixels


class Taps(NamedTuple):
    """The input pixels whose weighted sum is an output pixel.

    `first` is the index of the first of them, whole numbers of shape (N, out_size); `weights` are
    the weights of this pixel and the following ones, of shape (N, out_size, taps). N may be 1: all
    images then have the same taps.
    """

    first: Any
    weights: Any


def interpolation_taps(
    start: Any,
    length: Any,
    flip: Any,
    in_size: Any,
    out_size: int,
    kernel: str,
    antialias: bool = False,
) -> Taps:
    """Return the taps that resize the interval [start, start + length) of an axis.

    As in TensorFlow 2, pixels have half-integer centers, "bicubic" is Keys' kernel with a = -0.5,
    pixels outside the interval are ignored, and the weights are normalized.

    Args:
        start: First pixel of the interval, float tensor of shape (N,).
        length: Number of pixels of the interval, float tensor of shape (N,).
        flip: Whether to reverse the interval, booleans of shape (N,), or None.
        in_size: Size of the axis in pixels, an integer, or a scalar tensor without `antialias`.
        out_size: Size of the resized axis in pixels.
        kernel: "bicubic" or "bilinear".
        antialias: Whether to widen the kernel when shrinking. Defaults to False.
    """
    start, length = (ops.reshape(value, (-1, 1)) for value in (start, length))
    row = ops.reshape(ops.arange(out_size, dtype="float32"), (1, -1))
    if flip is not None:
        row = ops.where(ops.reshape(flip, (-1, 1)), out_size - 1 - row, row)
    scale = length / out_size
    center = start + (row + 0.5) * scale - 0.5  # (N, out_size)
    width = ops.maximum(scale, 1.0) if antialias else 1.0  # relative width of the kernel
    first = ops.floor(center - RADII[kernel] * width) + 1.0
    max_width = max(in_size / out_size, 1.0) if antialias else 1.0
    taps = ops.arange(math.ceil(2 * RADII[kernel] * max_width), dtype="float32")
    start, length, center, first = (
        ops.expand_dims(value, 2) for value in (start, length, center, first)
    )
    pixel = first + taps  # (N, out_size, taps)
    distance = ops.abs(pixel - center)
    if antialias:
        distance = distance / ops.expand_dims(width, 2)
    inside = ops.logical_and(pixel >= start, pixel < start + length)
    weights = ops.where(inside, _kernel(distance, kernel), 0.0)
    weights = weights / ops.sum(weights, axis=-1, keepdims=True)
    return Taps(first[:, :, 0], weights)


def _kernel(distance, kernel):
    if kernel == "bilinear":
        return ops.maximum(1.0 - distance, 0.0)
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return ops.where(distance < 1.0, near, ops.where(distance < 2.0, far, 0.0))
