"""Resampling: each output row is a weighted sum of a few input rows."""

from typing import Any

import keras
from keras import ops

from keras_simclr.ops.branching import computed_apart
from keras_simclr.ops.compilation import is_compiling
from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.interpolation import Taps
from keras_simclr.ops.native import native

MAX_TERMS = 32  # of a sum of lines; more are a product with a matrix


def resample(images: Any, rows: Taps, columns: Taps) -> Any:
    """Resize images.

    Args:
        images: Tensor of shape (N, H, W, C), any integer or float dtype.
        rows: Taps of the h output rows.
        columns: Taps of the w output columns.

    Returns:
        Planes of shape (N, C, h, w), float32.
    """
    height, width, channels = ops.shape(images)[1:]
    lines = resample_lines(native.reshape(images, (-1, height, width * channels)), rows)
    lines = _transposed(lines, columns)  # (N, W * C, h)
    lines = native.reshape(lines, (-1, width, channels, rows.first.shape[1]))
    return native.moveaxis(resample_lines(lines, columns), 1, 3)


def resample_lines(lines: Any, taps: Taps) -> Any:
    """Resize each image along its first axis.

    On a CPU, only the lines that count are read: each output line is a weighted sum of them, on
    PyTorch of a bag of embeddings. On a GPU, and uncompiled on JAX and TensorFlow, this is one
    product with matrices that are mostly zeros.

    Args:
        lines: Tensor of shape (N, size, ...), any integer or float dtype.
        taps: Taps of the output lines, in which lines outside the tensor must have weight zero.

    Returns:
        Tensor of shape (N, out_size, ...), float32.
    """
    count, size, *shape = ops.shape(lines)  # tensors if they are not static
    if keras.backend.backend() == "torch" and not for_gpu():
        return _sums_of_bags(lines, taps)
    has_few_terms = isinstance(size, int) and taps.weights.shape[2] <= MAX_TERMS
    if is_compiling(lines) and has_few_terms and not for_gpu():
        return _sums_of_lines(lines, taps)
    lines = ops.reshape(ops.cast(lines, "float32"), (count, size, -1))
    return ops.reshape(ops.matmul(banded(taps, size), lines), (-1, taps.first.shape[1], *shape))


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


def _sums_of_bags(lines, taps):
    import torch

    count, size, *shape = lines.shape
    _, out_size, bag_size = taps.weights.shape
    weights = taps.weights.expand(count, -1, -1)
    rows = taps.first.to(torch.int32)[..., None] + torch.arange(bag_size, dtype=torch.int32)
    rows = rows.clamp_(0, size - 1) + size * torch.arange(count, dtype=torch.int32)[:, None, None]
    sums = torch.nn.functional.embedding_bag(
        rows.view(-1, bag_size),
        lines.reshape(count * size, -1).float(),
        mode="sum",
        per_sample_weights=weights.reshape(-1, bag_size),
    )
    return sums.view(count, out_size, *shape)


def _sums_of_lines(lines, taps):
    count, size, *shape = ops.shape(lines)
    lines = ops.reshape(lines, (-1, *shape))
    first = ops.cast(taps.first, "int32")
    weights = ops.reshape(taps.weights, (-1, *taps.weights.shape[1:], *[1] * len(shape)))
    of_image = size * ops.expand_dims(ops.arange(count, dtype="int32"), 1)

    def term(k):
        taken = ops.take(lines, ops.clip(first + k, 0, size - 1) + of_image, axis=0)
        return weights[:, :, k] * ops.cast(taken, "float32")

    def sums():
        return sum(map(term, range(1, weights.shape[2])), term(0))

    return computed_apart(sums, taps.weights[0, 0, 0], (count, weights.shape[1], *shape))


def _transposed(lines, taps):
    """Swap the last two axes; on TensorFlow apart from the next sum, which would do it each time.

    TensorFlow moves what only one branch reads into that branch.
    """
    if keras.backend.backend() == "tensorflow" and is_compiling(lines) and not for_gpu():
        count, size, length = ops.shape(lines)
        return computed_apart(
            lambda: ops.swapaxes(lines, 1, 2), taps.weights[0, 0, 0], (count, length, size)
        )
    return native.swapaxes(lines, 1, 2)
