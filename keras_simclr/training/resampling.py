"""Resizing parts of pictures: each pixel that comes out is a weighted sum of a few that go in."""

import keras
from keras import ops

LARGE = 2**14  # pixels of a picture from which PyTorch is faster block by block
BLOCK = 56  # rows or columns of a block


def resample(images, rows, columns):
    """Take pictures to planes of another size.

    Args:
        images: Pictures of shape (N, H, W, C), float32.
        rows: For each of the h rows that come out the first row that counts, whole numbers of
            shape (N, h), and the weights of this one and of those after it, (N, h, taps), which
            are zero where there is no row. Or the same for all pictures, with N = 1.
        columns: The like for the w columns.

    Returns:
        Planes of shape (N, C, h, w).
    """
    height, width, channels = images.shape[1:]
    if _by_blocks_is_faster(images):
        return _resample_by_blocks(images, rows, columns)
    rows, columns = banded(*rows, height), banded(*columns, width)
    # Each product is a plain one of matrices that lie together in memory, and the transposition
    # falls between the two.
    images = ops.matmul(rows, ops.reshape(images, (-1, height, width * channels)))
    planes = ops.transpose(ops.reshape(images, (-1, rows.shape[1], width, channels)), (0, 3, 1, 2))
    lines = ops.reshape(planes, (-1, channels * rows.shape[1], width))
    lines = ops.matmul(lines, ops.swapaxes(columns, 1, 2))
    return ops.reshape(lines, (-1, channels, rows.shape[1], columns.shape[1]))


def banded(first, weights, size):
    """Return matrices with a few weights in a row, and zeros elsewhere.

    Args:
        first: Column of the first weight of each row, whole numbers of shape (N, rows).
        weights: Tensor of shape (N, rows, taps); zero where it falls out of the matrix.
        size: Number of columns.

    Returns:
        Tensor of shape (N, rows, size).
    """
    if keras.backend.backend() == "torch":
        columns = ops.cast(ops.expand_dims(first, 2), "int64") + ops.arange(weights.shape[2])
        zeros = ops.zeros((*weights.shape[:2], size))
        return zeros.scatter_add_(2, columns.clamp(0, size - 1), weights)
    tap = ops.arange(size, dtype="float32") - ops.expand_dims(first, 2)  # (N, rows, size)
    return sum(ops.where(tap == k, weights[:, :, k : k + 1], 0.0) for k in range(weights.shape[2]))


def _by_blocks_is_faster(images):
    if keras.backend.backend() != "torch" or images.device.type != "cpu":
        return False
    return images.shape[1] * images.shape[2] > LARGE


def _resample_by_blocks(images, rows, columns):
    """Do the same on PyTorch, picture by picture, with the pixels only that count for a block."""
    import torch

    count, height, width, channels = images.shape
    row_blocks, column_blocks = _blocks(*rows, height, count), _blocks(*columns, width, count)
    out_height, out_width = rows[0].shape[1], columns[0].shape[1]
    planes = torch.empty((count, channels, out_height, out_width))
    for i in range(count):
        left = min(begin[i] for begin, _ in column_blocks)
        right = max(begin[i] + weights.shape[2] for begin, weights in column_blocks)
        picture = images[i, :, left:right].reshape(height, -1)
        parts = [
            weights[i] @ picture[begin[i] : begin[i] + weights.shape[2]]
            for begin, weights in row_blocks
        ]
        lines = torch.cat(parts).view(out_height, right - left, channels).permute(2, 0, 1)
        lines = lines.reshape(-1, right - left)
        parts = [
            lines[:, begin[i] - left : begin[i] - left + weights.shape[2]] @ weights[i].T
            for begin, weights in column_blocks
        ]
        torch.cat(parts, 1, out=planes[i].view(-1, out_width))
    return planes


def _blocks(first, weights, size, count):
    """Return, of each block, where the pixels that count begin, N numbers, and their weights."""
    first = first.expand(count, -1)
    weights = weights.expand(count, -1, -1)
    blocks = []
    for start in range(0, first.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        begin = first[:, part].amin(1).clamp(0, size - 1)
        end = (first[:, part].amax(1) + weights.shape[2]).clamp(1, size)
        most = int((end - begin).max())
        begin = begin.clamp(max=size - most)
        of_block = banded(first[:, part] - begin[:, None], weights[:, part], most)
        blocks.append(([int(number) for number in begin.tolist()], of_block))
    return blocks
