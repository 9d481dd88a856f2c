"""Resampling: each output row is a weighted sum of a few input rows."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.interpolation import Taps
from keras_simclr.ops.native import native

BLOCK_SIZE = 8  # output rows that are computed together on a CPU on JAX and TensorFlow


def resample(images: Any, rows: Taps, columns: Taps) -> Any:
    """Resize images.

    Args:
        images: Tensor of shape (N, H, W, C), float32.
        rows: Taps of the h output rows.
        columns: Taps of the w output columns.

    Returns:
        Planes of shape (N, C, h, w).
    """
    lines = native.swapaxes(resample_rows(images, rows), 1, 3)  # (N, C, W, h)
    return native.swapaxes(resample_axis(lines, columns), 2, 3)


def resample_rows(images: Any, rows: Taps) -> Any:
    """Resize images along the rows.

    Args:
        images: Tensor of shape (N, H, W, C), float32.
        rows: Taps of the h output rows.

    Returns:
        Tensor of shape (N, h, W, C).
    """
    height, width, channels = ops.shape(images)[1:]
    lines = resample_axis(native.reshape(images, (-1, 1, height, width * channels)), rows)
    return native.reshape(lines, (-1, rows.first.shape[1], width, channels))


def resample_axis(planes: Any, taps: Taps) -> Any:
    """Resize planes along their first axis.

    On a GPU, this is one product with matrices that are mostly zeros. On a CPU, only the rows that
    count are read: a block of output rows is the product of a small matrix and the input rows that
    it needs, or on PyTorch, each output row is the weighted sum of a bag of embeddings.

    Args:
        planes: Tensor of shape (N, C, size, length), float32.
        taps: Taps of the output rows, in which rows outside the planes must have weight zero.

    Returns:
        Tensor of shape (N, C, out_size, length).
    """
    size = ops.shape(planes)[2]  # a tensor if it is not static
    if for_gpu() or not isinstance(size, int):
        return ops.matmul(ops.expand_dims(banded(taps, size), 1), planes)
    if keras.backend.backend() == "torch":
        return _sums_of_bags(planes, taps)
    return _sums_of_blocks(planes, taps)


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
        planes.reshape(-1, length),
        mode="sum",
        per_sample_weights=weights.reshape(-1, bag_size),
    )
    return sums.view(count, channels, out_size, length)


def _sums_of_blocks(planes, taps):
    count, channels, size, length = ops.shape(planes)
    out_size, taps_per_row = taps.first.shape[1], taps.weights.shape[2]
    blocks = -(-out_size // BLOCK_SIZE)
    # The last row is repeated until the last block is full.
    rows = np.minimum(np.arange(blocks * BLOCK_SIZE), out_size - 1).reshape(blocks, BLOCK_SIZE)
    first, weights = (ops.take(part, rows, axis=1) for part in taps)
    # Neighboring output rows are at most size / out_size input rows apart.
    needed = math.ceil((BLOCK_SIZE - 1) * size / out_size) + 1 + taps_per_row
    needed = min(needed, size)
    start = ops.clip(ops.min(first, axis=2), 0, size - needed)  # (N, blocks)
    matrices = banded(Taps(first - ops.expand_dims(start, 2), weights), needed)
    rows = ops.expand_dims(ops.cast(start, "int32"), 2) + ops.arange(needed, dtype="int32")
    rows = ops.expand_dims(rows, 1)
    rows = rows + size * ops.reshape(
        ops.arange(count * channels, dtype="int32"), (-1, channels, 1, 1)
    )
    needed_rows = ops.take(ops.reshape(planes, (-1, length)), rows, axis=0)
    sums = ops.matmul(ops.expand_dims(matrices, 1), needed_rows)
    sums = ops.reshape(sums, (-1, channels, blocks * BLOCK_SIZE, length))
    return sums[:, :, :out_size]
