"""The most similar rows of a bank, in the form that is fastest on each device."""

import numpy as np
from keras import ops

from keras_simclr.ops.forms import for_gpu

BANK_CHUNK_SIZE = 8192  # rows compared at a time; on a CPU, a row of similarities fits its cache
EPSILON = 1e-12


def most_similar(queries: np.ndarray, bank: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows of a bank with the highest cosine similarity to each query.

    Only similarities to `BANK_CHUNK_SIZE` rows exist at a time. On a CPU, NumPy is as fast as the
    fastest backend, and needs less memory than the others.

    Args:
        queries: Array of shape (N, D), float32.
        bank: Array of shape (M, D), float32.
        k: Number of rows to find for each query, at most M.

    Returns:
        Similarities and indices of the rows, NumPy arrays of shape (N, k), nearest first.
    """
    return (_most_similar_on_gpu if for_gpu() else _most_similar_on_cpu)(queries, bank, k)


def _most_similar_on_cpu(queries, bank, k):
    queries = queries * _inverse_norms(queries)[:, None]
    scales = _inverse_norms(bank)
    best = np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int32")
    for first in range(0, len(bank), BANK_CHUNK_SIZE):
        rows = slice(first, first + BANK_CHUNK_SIZE)
        found = queries @ bank[rows].T
        found *= scales[rows]
        added = first + np.arange(found.shape[1], dtype="int32")
        found, added = _highest(found, np.broadcast_to(added, found.shape), k)
        found, added = np.hstack([best[0], found]), np.hstack([best[1], added])
        best = _highest(found, added, k)
    order = np.argsort(-best[0], axis=1, kind="stable")
    return tuple(np.take_along_axis(array, order, axis=1) for array in best)


def _inverse_norms(rows):
    return 1 / np.maximum(np.sqrt(np.einsum("nd,nd->n", rows, rows)), EPSILON)


def _highest(similarities, indices, k):
    """Return the k highest similarities of each row, in any order, and their indices."""
    if similarities.shape[1] <= k:
        return similarities, indices
    columns = np.argpartition(similarities, -k, axis=1)[:, -k:]
    return tuple(np.take_along_axis(array, columns, axis=1) for array in (similarities, indices))


def _most_similar_on_gpu(queries, bank, k):
    queries = ops.normalize(queries, axis=-1)  # (N, D)
    best = ops.full((len(queries), k), -np.inf), ops.zeros((len(queries), k), "int32")
    for first in range(0, len(bank), BANK_CHUNK_SIZE):
        rows = ops.convert_to_tensor(bank[first : first + BANK_CHUNK_SIZE])
        best = _add_rows(*best, queries, rows, first)
    return tuple(map(ops.convert_to_numpy, best))


def _add_rows(similarities, indices, queries, rows, first):
    """Return the k highest similarities, and their rows, after some more rows of the bank."""
    k = similarities.shape[1]
    found = ops.matmul(queries, ops.transpose(ops.normalize(rows, axis=-1)))  # (N, rows)
    best, columns = ops.top_k(ops.concatenate([similarities, found], axis=1), k)
    columns = ops.cast(columns, "int32")
    old = ops.take_along_axis(indices, ops.minimum(columns, k - 1), axis=1)
    return best, ops.where(columns < k, old, columns - k + first)
