"""Resizing: each output pixel is a weighted sum of a few input pixels."""

from typing import Any

import keras
from keras import ops

from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.interpolation import Taps

MIN_PIXELS = 2**14  # of an image; above, PyTorch is faster on chunks of each image
CHUNK_SIZE = 56  # rows or columns of such a chunk


def resample(images: Any, rows: Taps, columns: Taps) -> Any:
    """Resize images.

    Args:
        images: Tensor of shape (N, H, W, C), float32.
        rows: Taps of the h output rows.
        columns: Taps of the w output columns.

    Returns:
        Planes of shape (N, C, h, w).
    """
    channels = images.shape[3]
    height, width = ops.shape(images)[1:3]  # tensors if the size is not static
    if _is_faster_in_chunks(images):
        return _resample_in_chunks(images, rows, columns)
    row_weights, column_weights = banded(rows, height), banded(columns, width)
    out_height, out_width = row_weights.shape[1], column_weights.shape[1]
    # Transposing between the two products keeps both on contiguous matrices.
    images = ops.matmul(row_weights, ops.reshape(images, (-1, height, width * channels)))
    images = ops.reshape(images, (-1, out_height, width, channels))
    lines = ops.reshape(ops.transpose(images, (0, 3, 1, 2)), (-1, channels * out_height, width))
    lines = ops.matmul(lines, ops.swapaxes(column_weights, 1, 2))
    return ops.reshape(lines, (-1, channels, out_height, out_width))


def banded(taps: Taps, size: Any) -> Any:
    """Return matrices (N, out_size, size) with the weights of the taps, and zeros elsewhere.

    Args:
        taps: `Taps`, in which pixels outside the matrix must have weight zero.
        size: Number of columns.
    """
    first, weights = taps
    if keras.backend.backend() == "torch":
        columns = ops.cast(ops.expand_dims(first, 2), "int64") + ops.arange(
            weights.shape[2], dtype="int64"
        )
        zeros = ops.zeros((*weights.shape[:2], size), dtype="float32")
        return zeros.scatter_add_(2, columns.clamp(0, size - 1), weights)
    tap = ops.arange(size, dtype="float32") - ops.expand_dims(first, 2)  # (N, rows, size)
    return sum(ops.where(tap == k, weights[:, :, k : k + 1], 0.0) for k in range(weights.shape[2]))


def _is_faster_in_chunks(images):
    if keras.backend.backend() != "torch" or for_gpu():
        return False
    return images.shape[1] * images.shape[2] > MIN_PIXELS


def _resample_in_chunks(images, rows, columns):
    """Resize image by image on PyTorch, using only the pixels that each chunk needs."""
    import torch

    count, height, width, channels = images.shape
    row_chunks, column_chunks = _chunks(rows, height, count), _chunks(columns, width, count)
    out_height, out_width = rows.first.shape[1], columns.first.shape[1]
    planes = torch.empty((count, channels, out_height, out_width))
    for i in range(count):
        left = min(start[i] for start, _ in column_chunks)
        right = max(start[i] + weights.shape[2] for start, weights in column_chunks)
        image = images[i, :, left:right].reshape(height, -1)
        lines = torch.cat(
            [
                weights[i] @ image[start[i] : start[i] + weights.shape[2]]
                for start, weights in row_chunks
            ]
        )
        lines = lines.view(out_height, right - left, channels).permute(2, 0, 1)
        lines = lines.reshape(-1, right - left)
        chunks = [
            lines[:, start[i] - left : start[i] - left + weights.shape[2]] @ weights[i].T
            for start, weights in column_chunks
        ]
        torch.cat(chunks, 1, out=planes[i].view(-1, out_width))
    return planes


def _chunks(taps, size, count):
    """Return for each chunk the first pixel needed, N integers, and the weights from there on."""
    first = taps.first.expand(count, -1)
    weights = taps.weights.expand(count, -1, -1)
    chunks = []
    for begin in range(0, first.shape[1], CHUNK_SIZE):
        chunk = slice(begin, begin + CHUNK_SIZE)
        start = first[:, chunk].amin(1).clamp(0, size - 1)
        end = (first[:, chunk].amax(1) + weights.shape[2]).clamp(1, size)
        max_length = int((end - start).max())
        start = start.clamp(max=size - max_length)
        shifted = Taps(first[:, chunk] - start[:, None], weights[:, chunk])
        chunks.append(([int(pixel) for pixel in start.tolist()], banded(shifted, max_length)))
    return chunks
