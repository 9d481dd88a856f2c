"""Arithmetic on chunks of images, on PyTorch in place: there that is several times faster.

On PyTorch, `clip_`, `abs_`, `copy_sign_` and `add_multiple_` always overwrite their first argument,
so a step may only give them what it has computed itself. The others with an underscore overwrite
the argument that they name only on a CPU and without a gradient, so a step may also give them its
planes.
"""

import math
from typing import Any

import keras
from keras import ops

from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.native import native


def clip(values: Any, lower: float, upper: float = math.inf) -> Any:
    """Clip a tensor; on PyTorch faster than `ops.clip`, which converts the bounds to tensors.

    Args:
        values: Tensor of any shape.
        lower: Lower bound.
        upper: Upper bound. Defaults to infinity.

    Returns:
        Tensor of the same shape.
    """
    if keras.backend.backend() == "torch":
        return values.clamp(lower, upper)
    return ops.maximum(values, lower) if upper == math.inf else ops.clip(values, lower, upper)


def clip_(values: Any, lower: float, upper: float = math.inf) -> Any:
    """Clip a tensor as `clip` does, in place."""
    if keras.backend.backend() == "torch":
        return values.clamp_(lower, upper)
    return clip(values, lower, upper)


def abs_(values: Any) -> Any:
    """Return the absolute values, in place."""
    return values.abs_() if keras.backend.backend() == "torch" else ops.abs(values)


def copy_sign_(values: Any, signs: Any) -> Any:
    """Give values of at least 0 the signs of another tensor, in place."""
    if keras.backend.backend() == "torch":
        return values.copysign_(signs)
    return ops.where(signs < 0.0, -values, values)


def add_multiple_(total: Any, values: Any, factor: float) -> Any:
    """Return `total + factor * values`, in place of the total."""
    if keras.backend.backend() == "torch":
        return total.add_(values, alpha=factor)
    return total + factor * values


def channel_means(planes: Any) -> Any:
    """Return the mean of each channel, (N, C, 1, 1), of planes (N, C, H, W)."""
    if keras.backend.backend() == "tensorflow":  # slow with both axes at once
        return ops.mean(ops.mean(planes, axis=2, keepdims=True), axis=3, keepdims=True)
    return native.mean(planes, axis=(2, 3), keepdims=True)


def maximum_(values: Any, others: Any) -> Any:
    """Return the larger of two values, in place of the first ones."""
    return _in_place_of(values, native.maximum, values, others)


def minimum_(values: Any, others: Any) -> Any:
    """Return the smaller of two values, in place of the first ones."""
    return _in_place_of(values, native.minimum, values, others)


def multiply_(planes: Any, factors: Any) -> Any:
    """Return `planes * factors`, in place of the planes."""
    return _in_place_of(planes, native.multiply, planes, factors)


def add_over_(values: Any, others: Any, planes: Any) -> Any:
    """Return `values + others`, of the shape of the planes, in their place."""
    return _in_place_of(planes, native.add, values, others)


def add_product_(start: Any, planes: Any, factors: Any) -> Any:
    """Return `start + planes * factors`, in place of the planes."""
    if keras.backend.backend() == "torch":
        return _in_place_of(planes, native.addcmul, start, planes, factors)
    return start + planes * factors


def interpolate_(start: Any, planes: Any, weights: Any) -> Any:
    """Return `start * (1 - weights) + planes * weights`, in place of the planes.

    Where a weight is 1, the planes do not change at all.
    """
    if keras.backend.backend() == "torch":
        return _in_place_of(planes, native.lerp, start, planes, weights)
    return start * (1.0 - weights) + planes * weights


def _in_place_of(tensor, function, *arguments):
    """Apply a function, of which PyTorch may write the result to `tensor`."""
    if keras.backend.backend() != "torch" or for_gpu():
        return function(*arguments)
    if any(argument.requires_grad for argument in (tensor, *arguments)):
        return function(*arguments)
    return function(*arguments, out=tensor)
