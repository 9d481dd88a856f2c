"""Resampling: each output row is a weighted sum of a few input rows."""

from typing import Any

import keras
from keras import ops

from keras_simclr.ops.branching import computed_apart
from keras_simclr.ops.compilation import is_compiling
from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.interpolation import Taps
from keras_simclr.ops.native import native

MAX_TERMS = 32  # of a sum of rows; more are a product with a matrix


def resample(images: Any, rows: Taps, columns: Taps) -> Any:
    """Resize images.

    Args:
        images: Tensor of shape (N, H, W, C), any integer or float dtype.
        rows: Taps of the h output rows.
        columns: Taps of the w output columns.

    Returns:
        Planes of shape (N, C, h, w), float32.
    """
    lines = native.swapaxes(resample_rows(images, rows), 1, 3)  # (N, C, W, h)
    return native.swapaxes(resample_axis(lines, columns), 2, 3)


def resample_rows(images: Any, rows: Taps) -> Any:
    """Resize images along the rows.

    Args:
        images: Tensor of shape (N, H, W, C), any integer or float dtype.
        rows: Taps of the h output rows.

    Returns:
        Tensor of shape (N, h, W, C), float32.
    """
    height, width, channels = ops.shape(images)[1:]
    lines = resample_axis(native.reshape(images, (-1, 1, height, width * channels)), rows)
    return native.reshape(lines, (-1, rows.first.shape[1], width, channels))


def resample_axis(planes: Any, taps: Taps) -> Any:
    """Resize planes along their first axis.

    On a CPU, only the rows that count are read: each output row is a weighted sum of them, on
    PyTorch of a bag of embeddings. On a GPU, and uncompiled on JAX and TensorFlow, this is one
    product with matrices that are mostly zeros.

    Args:
        planes: Tensor of shape (N, C, size, length), any integer or float dtype.
        taps: Taps of the output rows, in which rows outside the planes must have weight zero.

    Returns:
        Tensor of shape (N, C, out_size, length), float32.
    """
    size = ops.shape(planes)[2]  # a tensor if it is not static
    if keras.backend.backend() == "torch" and not for_gpu():
        return _sums_of_bags(planes, taps)
    has_few_terms = isinstance(size, int) and taps.weights.shape[2] <= MAX_TERMS
    if is_compiling(planes) and has_few_terms and not for_gpu():
        return _sums_of_rows(planes, taps)
    planes = ops.cast(planes, "float32")
    return ops.matmul(ops.expand_dims(banded(taps, size), 1), planes)


def banded(taps: Taps, size: Any) -> Any:
    """Return matrices (..., out_size, size) with the weights of the taps, and zeros elsewhere.

    Args:
        taps: `Taps`, in which pixels outside the matrix must have weight zero.
        size: Number of columns.
    """
    first, weights = taps
    if keras.backend.backend() == "torch":
        columns = ops.cast(ops.expand_dims(first, -1), "int64") + ops.arange(
            weights.shape[-1], dtype="int64"
        )
        columns = columns.clamp(0, size - 1).expand(weights.shape)
        return ops.zeros((*weights.shape[:-1], size), dtype="float32").scatter_add_(
            -1, columns, weights
        )
    tap = ops.arange(size, dtype="float32") - ops.expand_dims(first, -1)
    return sum(ops.where(tap == k, weights[..., k : k + 1], 0.0) for k in range(weights.shape[-1]))


def _sums_of_bags(planes, taps):
    import torch

    count, channels, size, length = planes.shape
    _, out_size, bag_size = taps.weights.shape
    weights = taps.weights.expand(count, -1, -1)[:, None].expand(-1, channels, -1, -1)
    rows = taps.first.to(torch.int32)[:, None, :, None] + torch.arange(bag_size, dtype=torch.int32)
    of_plane = size * torch.arange(count * channels, dtype=torch.int32)
    rows = rows.clamp_(0, size - 1) + of_plane.view(count, channels, 1, 1)
    sums = torch.nn.functional.embedding_bag(
        rows.view(-1, bag_size),
        planes.reshape(-1, length).float(),
        mode="sum",
        per_sample_weights=weights.reshape(-1, bag_size),
    )
    return sums.view(count, channels, out_size, length)


def _sums_of_rows(planes, taps):
    count, channels, size, length = ops.shape(planes)
    lines = ops.reshape(planes, (-1, length))
    first = ops.expand_dims(ops.cast(taps.first, "int32"), 1)
    weights = ops.expand_dims(taps.weights, 1)  # (N, 1, out_size, terms)
    of_plane = size * ops.reshape(ops.arange(count * channels, dtype="int32"), (-1, channels, 1))

    def term(k):
        rows = ops.take(lines, ops.clip(first + k, 0, size - 1) + of_plane, axis=0)
        return weights[..., k : k + 1] * ops.cast(rows, "float32")

    def sums():
        return sum(map(term, range(1, weights.shape[-1])), term(0))

    shape = (count, channels, weights.shape[2], length)
    return computed_apart(sums, weights[0, 0, 0, 0], shape)
