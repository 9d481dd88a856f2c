"""The weights of resizing."""

import math
from typing import Any, NamedTuple

from keras import ops

RADII = {"bicubic": 2, "bilinear": 1}  # pixels


class Taps(NamedTuple):
    """The pixels that count for each one that comes out.

    The first of them, whole numbers of shape (N, out_size), and the weights of this one and of
    those after it, (N, out_size, taps).
    """

    first: Any
    weights: Any


def interpolation_taps(start, length, flip, in_size, out_size, kernel, antialias=False):
    """Weights that resize the stretch [start, start + length) of an axis to `out_size`.

    As in TensorFlow 2: pixels have their centres at halves, bicubic is the kernel of Keys with
    a = -0.5, and what lies outside of the stretch does not count; weights are normalised.

    Args:
        start: First pixel of the stretch, float tensor of shape (N,).
        length: Its number of pixels, float tensor of shape (N,).
        flip: Whether to turn the stretch around, booleans of shape (N,), or None.
        in_size: Pixels of the axis.
        out_size: Pixels wanted.
        kernel: "bicubic" or "bilinear".
        antialias: Whether to widen the kernel when shrinking.

    Returns:
        `Taps`, which `resample` applies.
    """
    start, length = (ops.reshape(value, (-1, 1)) for value in (start, length))
    row = ops.reshape(ops.arange(out_size, dtype="float32"), (1, -1))
    if flip is not None:
        row = ops.where(ops.reshape(flip, (-1, 1)), out_size - 1 - row, row)
    scale = length / out_size
    centre = start + (row + 0.5) * scale - 0.5  # (N, out_size)
    wider = ops.maximum(scale, 1.0) if antialias else 1.0
    first = ops.floor(centre - RADII[kernel] * wider) + 1.0
    most = max(in_size / out_size, 1.0) if antialias else 1.0
    taps = ops.arange(math.ceil(2 * RADII[kernel] * most), dtype="float32")
    start, length, centre, first = (
        ops.expand_dims(value, 2) for value in (start, length, centre, first)
    )
    pixel = first + taps  # (N, out_size, taps)
    distance = ops.abs(pixel - centre)
    if antialias:
        distance = distance / ops.expand_dims(wider, 2)
    inside = ops.logical_and(pixel >= start, pixel < start + length)
    weights = ops.where(inside, _kernel(distance, kernel), 0.0)
    weights = weights / ops.sum(weights, axis=-1, keepdims=True)
    return Taps(first[:, :, 0], weights)


def check_kernel(interpolation):
    """Raise a ValueError unless the kernel is known."""
    if interpolation not in RADII:
        known = tuple(RADII)
        raise ValueError(
            f"`interpolation` must be one of {known}. Received: interpolation={interpolation!r}."
        )


def _kernel(distance, kernel):
    if kernel == "bilinear":
        return ops.maximum(1.0 - distance, 0.0)
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return ops.where(distance < 1.0, near, ops.where(distance < 2.0, far, 0.0))
