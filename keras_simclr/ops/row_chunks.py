"""Computations on chunks of the rows of matrices, in the form that is fastest on each backend."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_simclr.ops.chunking import in_chunks


def scan_chunks(
    function: Callable, carry: Any, tensors: tuple[Any, ...], chunk_size: Any
) -> tuple[Any, Any]:
    """Apply `function` to one chunk of rows after another, and carry a tensor along.

    Args:
        function: Takes the carry and a tuple with a chunk of each tensor, and returns the next
            carry and a tensor with as many rows as the chunk.
        carry: Initial carry, a tensor. Its shape must not change.
        tensors: Tuple of tensors of shape (N, ...).
        chunk_size: Number of rows per chunk, an integer or, on TensorFlow, a scalar tensor. The
            last chunk may be smaller, or padded with zeros, whose results are dropped.

    Returns:
        The final carry, and the results, of shape (N, ...).
    """
    count = ops.shape(tensors[0])[0]
    if isinstance(count, int) and isinstance(chunk_size, int) and count <= chunk_size:
        return function(carry, tensors)
    if keras.backend.backend() == "jax":
        return _scan_on_jax(function, carry, tensors, chunk_size)
    if keras.backend.backend() == "tensorflow":
        return _scan_on_tensorflow(function, carry, tensors, chunk_size)
    results = []
    for start in range(0, count, chunk_size):
        chunk = slice(start, start + chunk_size)
        carry, result = function(carry, tuple(tensor[chunk] for tensor in tensors))
        results.append(result)
    return carry, ops.concatenate(results)


def set_in_rows(matrix: Any, columns: Sequence[Any], value: float) -> Any:
    """Set some entries of each row of a matrix.

    Args:
        matrix: Tensor of shape (N, M). On PyTorch it is changed in place.
        columns: int32 tensors of shape (N,), each with the index of one entry per row.
        value: Value to set the entries to.

    Returns:
        Tensor of shape (N, M).
    """
    if keras.backend.backend() == "torch":
        for column in columns:
            matrix.scatter_(1, column[:, None].long(), value)
        return matrix
    index = ops.expand_dims(ops.arange(ops.shape(matrix)[1], dtype="int32"), 0)  # (1, M)
    for column in columns:
        matrix = ops.where(index == ops.expand_dims(column, 1), value, matrix)
    return matrix


def _scan_on_jax(function, carry, tensors, chunk_size):
    import jax

    carry, results = jax.lax.scan(function, carry, in_chunks(tensors, chunk_size))
    return carry, ops.reshape(results, (-1, *results.shape[2:]))[: len(tensors[0])]


def _scan_on_tensorflow(function, carry, tensors, chunk_size):
    """Scan like `keras.ops.scan`, but with results whose shape differs from the carry's."""
    import tensorflow as tf

    count = tf.shape(tensors[0])[0]
    chunks = in_chunks(tensors, tf.minimum(chunk_size, count))
    number = tf.shape(chunks[0])[0]
    shape: list[int] = []

    def step(index, carry, results):
        carry, result = function(carry, tuple(tensor[index] for tensor in chunks))
        shape[:] = result.shape[1:]
        return index + 1, carry, results.write(index, result)

    results = tf.TensorArray(carry.dtype, number)
    _, carry, results = tf.while_loop(
        lambda index, *_: index < number, step, (0, carry, results), parallel_iterations=1
    )
    return carry, tf.reshape(results.stack(), (-1, *shape))[:count]


def updates_rows_in_place() -> bool:
    """Return whether `update_rows` changes a matrix in place; on TensorFlow it is not supported."""
    return keras.backend.backend() != "tensorflow"


def rows_from(matrix: Any, start: Any, count: Any) -> Any:
    """Return `count` rows of a matrix from row `start`, a scalar tensor, on."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.dynamic_slice_in_dim(matrix, start, count)
    return matrix[start : start + count]


def update_rows(matrix: Any, start: Any, rows: Any, combine: Callable) -> Any:
    """Combine rows with those of a matrix from row `start`, a scalar tensor, on.

    Args:
        matrix: Tensor of shape (N, M). On PyTorch it is changed in place.
        start: First row of the matrix to change, a scalar tensor.
        rows: Tensor of shape (n, M).
        combine: Function of the old rows and `rows` that returns the new ones.

    Returns:
        Tensor of shape (N, M).
    """
    count = len(rows)
    if keras.backend.backend() == "jax":
        import jax

        new = combine(rows_from(matrix, start, count), rows)
        return jax.lax.dynamic_update_slice_in_dim(matrix, new, start, 0)
    matrix[start : start + count] = combine(matrix[start : start + count], rows)
    return matrix


def set_diagonal(matrix: Any, size: int) -> Any:
    """Set to zero the diagonal of the first square, and the lower triangle of the last one.

    Args:
        matrix: Tensor of shape (size, M). On PyTorch it is changed in place.
        size: Size of the squares.

    Returns:
        Tensor of shape (size, M).
    """
    if keras.backend.backend() == "torch":
        matrix[:, :size].fill_diagonal_(0.0)
        matrix[:, -size:].triu_(1)
        return matrix
    row, column = ops.arange(size), ops.arange(ops.shape(matrix)[1])
    distance = ops.expand_dims(column, 0) - ops.expand_dims(row, 1)
    last = column >= ops.shape(matrix)[1] - size
    kept = ops.where(last, distance > ops.shape(matrix)[1] - size, distance != 0)
    return ops.where(kept, matrix, 0.0)
