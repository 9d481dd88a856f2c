"""The nearest neighbors in feature space."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_simclr.evaluation.features import check_features, check_same_dimension, embedding
from keras_simclr.evaluation.result import Result
from keras_simclr.ops.nearest import most_similar
from keras_simclr.validation import check_positive_integer

CHUNK_SIZE = 512  # queries compared at a time
SHOWN = 10  # queries in a printed table


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbors(Result):
    """The rows of a bank that are most similar to each query, nearest first.

    Args:
        indices: Indices of the rows in the bank, integers of shape (N, k).
        similarities: Their cosine similarities, of shape (N, k), float32.
        protocol: How they were found.
    """

    indices: np.ndarray
    similarities: np.ndarray
    protocol: str

    def table(self) -> list[list[str]]:
        """Return a row for each of the first queries."""
        ranks = range(1, self.indices.shape[1] + 1)
        rows = [
            [f"query {query}", *(f"{i} ({s:.2f})" for i, s in zip(*pair, strict=True))]
            for query, pair in enumerate(zip(self.indices, self.similarities, strict=True))
        ]
        return [["", *map(str, ranks)], *rows[:SHOWN]]


def nearest_neighbors(
    bank: Any,
    queries: Any = None,
    k: int = 5,
    model: Any = None,
    chunk_size: int = CHUNK_SIZE,
) -> Neighbors:
    """Find the rows of a bank that have the highest cosine similarity to each query.

    Args:
        bank: Features of shape (M, D), or images if there is a `model`.
        queries: Features of shape (N, D), or images. Defaults to None: the bank itself, where no
            row is its own neighbor.
        k: Number of neighbors, at most M. Defaults to 5.
        model: A `SimCLR`, an encoder, or the path of a saved one, for images. Defaults to None:
            `bank` and `queries` are features.
        chunk_size: Number of queries compared at a time. Defaults to 512.

    Returns:
        `Neighbors` with `indices` and `similarities`, both of shape (N, k).

    Raises:
        ValueError: If shapes do not match, a feature is not finite, or `k` or `chunk_size` is out
            of range.

    Example:
    >>> found = nearest_neighbors([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[2.0, 1.0]], k=2)
    >>> found.indices.tolist()
    [[2, 0]]
    """
    check_positive_integer("k", k)
    check_positive_integer("chunk_size", chunk_size)
    with embedding(model) as embed:
        rows = check_features(embed(bank), "bank")
        others = None if queries is None else check_features(embed(queries), "queries")
    own = int(others is None)
    if k + own > len(rows):
        raise ValueError(
            f"`k` must be at most the number of rows to choose from. Received: k={k} with "
            f"{len(rows) - own} rows."
        )
    others = rows if others is None else others
    check_same_dimension(rows, others, ("bank", "queries"))
    parts = list(iterate_neighbors(rows, others, k + own, chunk_size))
    similarities, indices = (np.concatenate(part) for part in zip(*parts, strict=True))
    if own:
        similarities, indices = _without_self(similarities, indices)
    protocol = f"{k} nearest of {len(rows) - own} by cosine similarity"
    return Neighbors(indices, similarities, protocol)


def iterate_neighbors(
    bank: np.ndarray, queries: np.ndarray, k: int, chunk_size: int = CHUNK_SIZE
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the k highest similarities and their rows in the bank, for chunks of the queries.

    Args:
        bank: Array of shape (M, D), float32.
        queries: Array of shape (N, D), float32.
        k: Number of neighbors, at most M.
        chunk_size: Number of queries per chunk.

    Yields:
        `(similarities, indices)`, NumPy arrays of shape (n, k), nearest first.
    """
    for start in range(0, len(queries), chunk_size):
        yield most_similar(queries[start : start + chunk_size], bank, k)


def _without_self(similarities, indices):
    """Drop from each row's neighbors the row itself, or if it is not among them, the last."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(indices), indices.shape[1] - 1
    return similarities[~own].reshape(shape), indices[~own].reshape(shape)
