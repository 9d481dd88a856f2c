"""Filters that are the same in every row, and in every column."""

import functools
from typing import Any, NamedTuple

from keras import ops

from keras_simclr.ops.branching import computed_apart
from keras_simclr.ops.compilation import is_compiling
from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.interpolation import Taps
from keras_simclr.ops.native import native
from keras_simclr.ops.resampling import resample_lines

MIN_WIDE_RADIUS = 8  # from which on half of it is worth a branch of its own
NEGLIGIBLE = 2**-30  # of the sum of a kernel, far below the precision of float32


class Filter(NamedTuple):
    """A symmetric kernel of each image for one axis, (N, taps), and scales of the results.

    The scales have the shape (N, size). Pixels outside the image count as zero.
    """

    kernel: Any
    scale: Any


def prepare_filter(kernel: Any, size: int, normalized: bool) -> Any:
    """Prepare a filter of one axis for `filter_planes`.

    Args:
        kernel: Symmetric kernel of each image, (N, taps), positive. Negligible weights count as 0.
        size: Size of the axis.
        normalized: Whether the weights of the pixels inside the image add up to 1; otherwise
            pixels outside count as zero.

    Returns:
        A `Filter`, or in the form for other than compiled CPUs, the weights of the pixels around
        each one of the axis, (N, size, taps).
    """
    taps = kernel.shape[1]
    # Far from the center, weights may be subnormal numbers, with which CPUs are slow.
    kernel = ops.where(kernel < NEGLIGIBLE, 0.0, kernel)
    pixels = ops.expand_dims(ops.arange(size, dtype="int32"), 1)
    pixels = pixels + ops.arange(-(taps // 2), taps // 2 + 1, dtype="int32")
    inside = ops.cast(ops.logical_and(pixels >= 0, pixels < size), "float32")
    weights = ops.expand_dims(kernel, 1) * inside
    sums = ops.sum(weights, axis=2) if normalized else ops.ones_like(weights[..., 0])
    if is_compiling(kernel) and not for_gpu():
        return Filter(kernel, 1.0 / sums)
    return weights / ops.expand_dims(sums, 2)


def filter_planes(planes: Any, rows: Any, columns: Any) -> Any:
    """Filter along the rows and along the columns.

    Args:
        planes: Tensor of shape (N, C, H, W), float32, of known size.
        rows: The prepared filter of the rows.
        columns: The prepared filter of the columns.

    Returns:
        The filtered images, (N, H, W, C).
    """
    if isinstance(rows, Filter):
        channels, height, width = planes.shape[1:]
        lines = _filter_by_sums(planes, rows, columns)
        return ops.reshape(lines, (-1, height, width, channels))
    lines = resample_lines(native.moveaxis(planes, 3, 1), _taps(columns))  # (N, W, C, H)
    return resample_lines(native.moveaxis(lines, 3, 1), _taps(rows))


def _taps(weights):
    _, size, taps = weights.shape
    return Taps(ops.expand_dims(ops.arange(size, dtype="float32"), 0) - taps // 2, weights)


def _filter_by_sums(planes, rows, columns):
    """Filter with half the radius if that is enough for a single image and a wide kernel."""
    radius, narrow = (rows.kernel.shape[1] // 2 // part for part in (1, 2))
    wide = functools.partial(_sums_of_shifted, planes, rows, columns)
    if planes.shape[0] != 1 or radius < MIN_WIDE_RADIUS:
        return wide()
    dropped = slice(0, radius - narrow)
    middle = slice(radius - narrow, radius + narrow + 1)
    narrowed = [Filter(kernel[:, middle], scale) for kernel, scale in (rows, columns)]
    largest = ops.max(ops.concatenate([rows.kernel[:, dropped], columns.kernel[:, dropped]]))
    return ops.cond(largest == 0.0, lambda: _sums_of_shifted(planes, *narrowed), wide)


def _sums_of_shifted(planes, rows, columns):
    """Sum shifted images, pairs of the same weight first.

    XLA computes such a sum along whole lines fast.
    """
    channels, height, width = planes.shape[1:]
    radius, length = rows.kernel.shape[1] // 2, width * channels
    lines = ops.reshape(ops.transpose(planes, (0, 2, 3, 1)), (-1, height, length))
    beside = radius * channels
    lines = ops.pad(lines, ((0, 0), (radius, radius), (beside, beside)))
    scale = ops.expand_dims(ops.repeat(columns.scale, channels, axis=1), 1)
    scale = scale * ops.expand_dims(rows.scale, 2)
    count, finite = ops.shape(lines)[0], rows.scale[0, 0]

    def along_rows():
        return _sum(rows.kernel, lambda k: lines[:, k : k + height])

    def along_columns():
        def shifted(k):
            return sums[..., k * channels : k * channels + length]

        return _sum(columns.kernel, shifted) * scale

    sums = computed_apart(along_rows, finite, (count, height, lines.shape[2]))
    return computed_apart(along_columns, finite, (count, height, length))


def _sum(kernel, shifted):
    """Return the sum of `shifted(k)`, weighted by a symmetric kernel (N, taps)."""
    last = kernel.shape[1] - 1
    weights = ops.expand_dims(ops.expand_dims(kernel, 2), 3)  # (N, taps, 1, 1)
    total = weights[:, last // 2] * shifted(last // 2)
    for k in range(last // 2):
        total = total + weights[:, k] * (shifted(k) + shifted(last - k))
    return total
