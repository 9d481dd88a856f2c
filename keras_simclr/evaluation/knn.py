"""Classification by the nearest neighbors in feature space."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_simclr.evaluation.features import (
    check_features,
    check_labels,
    check_same_dimension,
    embedding,
    encode_labels,
)
from keras_simclr.evaluation.neighbors import CHUNK_SIZE, iterate_neighbors
from keras_simclr.evaluation.result import Result
from keras_simclr.validation import check_positive, check_positive_integer

MAX_K = 200  # the usual value


@dataclasses.dataclass(frozen=True, eq=False)
class KNNPrediction(Result):
    """What the nearest neighbors of each test row vote for.

    Args:
        labels: The class with most votes, of shape (N,).
        probabilities: Fraction of the votes for each class, of shape (N, number of classes).
        classes: The classes, sorted.
        k: Number of neighbors that vote.
        temperature: Temperature of the votes.
        protocol: How they were found.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    classes: np.ndarray
    k: int
    temperature: float
    protocol: str

    def accuracy(self, labels: Any) -> float:
        """Return the fraction of rows that were classified correctly, given their true classes."""
        true = np.asarray(check_labels(labels, len(self.labels), "test_features"))
        if (true.dtype.kind in "US") != (self.classes.dtype.kind in "US"):
            raise ValueError(
                "The labels of bank and test rows must both be names or both be numbers. Received: "
                f"{self.classes[0]!r} in the bank and {true[0]!r} in the test rows. Convert one."
            )
        return float(np.mean(self.labels == true))

    def table(self) -> list[list[str]]:
        """Return a row for each class: how many rows were assigned to it."""
        counts = [int(np.sum(self.labels == label)) for label in self.classes]
        rows = [[str(c), f"{n:,}"] for c, n in zip(self.classes, counts, strict=True)]
        return [["class", "predicted"], *rows]


def knn_predict(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    k: int | None = None,
    temperature: float = 0.1,
    chunk_size: int = CHUNK_SIZE,
    model: Any = None,
) -> KNNPrediction:
    r"""Classify by the weighted vote of the k nearest neighbors.

    With `s` the cosine similarity to a test row, each of the k rows of the bank that are most
    similar to it votes for its own class:

    `votes(c) = sum_{i among the k nearest, label(i) = c} exp(s(i) / temperature)`

    Args:
        train_features: The bank, array of shape (M, D), compared in float32, or images if there
            is a `model`.
        train_labels: Classes of the bank, of shape (M,).
        test_features: Array of shape (N, D), or images.
        k: Number of neighbors that vote, at most M. Defaults to None: `min(200, round(sqrt(M)))`,
            which is the usual 200 for a bank of 40,000 or more. Pass it to compare banks of
            different sizes.
        temperature: Positive float. Defaults to 0.1.
        chunk_size: Number of test rows compared at a time, with 8192 rows of the bank. Defaults
            to 512.
        model: A `SimCLR`, an encoder, or the path of a saved one, for images. Defaults to None:
            the data are features.

    Returns:
        A `KNNPrediction`.

    Raises:
        ValueError: If shapes do not match, a feature is not finite, the bank has only one class,
            or `k`, `temperature` or `chunk_size` is not positive.

    Example:
    >>> bank, test = [[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.2, 0.8]]
    >>> knn_predict(bank, ["cat", "dog"], test, k=1).labels.tolist()
    ['cat', 'dog']

    References:
        Wu et al. 2018 (arXiv:1805.01978), section 3.4.
    """
    if k is not None:
        check_positive_integer("k", k)
    check_positive("temperature", temperature)
    check_positive_integer("chunk_size", chunk_size)
    with embedding(model) as embed:
        bank = check_features(embed(train_features), "train_features")
        test = check_features(embed(test_features), "test_features")
    check_same_dimension(bank, test, ("train_features", "test_features"))
    classes, indices = encode_labels(check_labels(train_labels, len(bank), "train_features"))
    k = min(k or _default_k(len(bank)), len(bank))
    votes = np.concatenate(
        [
            _votes(similarity, indices[rows], len(classes), temperature)
            for similarity, rows in iterate_neighbors(bank, test, k, chunk_size)
        ]
    )
    return KNNPrediction(
        labels=classes[votes.argmax(axis=1)],
        probabilities=votes / votes.sum(axis=1, keepdims=True),
        classes=classes,
        k=k,
        temperature=temperature,
        protocol=(
            f"Weighted vote of the {k} nearest of {len(bank):,} by cosine similarity, "
            f"temperature {temperature:g}"
        ),
    )


def knn_accuracy(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    test_labels: Any,
    k: int | None = None,
    temperature: float = 0.1,
    chunk_size: int = CHUNK_SIZE,
    model: Any = None,
) -> float:
    """Compute the accuracy of the weighted vote of the k nearest neighbors.

    Args:
        train_features: The bank, array of shape (M, D), or images if there is a `model`.
        train_labels: Classes of the bank, of shape (M,).
        test_features: Array of shape (N, D), or images.
        test_labels: True classes of the test rows, of shape (N,).
        k: As in `knn_predict`. Defaults to None: `min(200, round(sqrt(M)))`.
        temperature: As in `knn_predict`. Defaults to 0.1.
        chunk_size: As in `knn_predict`. Defaults to 512.
        model: As in `knn_predict`. Defaults to None.

    Returns:
        The fraction of test rows that are classified correctly, a float in 0..1.

    Raises:
        ValueError: As `knn_predict`, or if there is not one label for each test row.

    Example:
    >>> bank, test = [[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.2, 0.8]]
    >>> knn_accuracy(bank, ["cat", "dog"], test, ["cat", "cat"], k=1)
    0.5
    """
    if model is None:  # otherwise the number of images is unknown until they are read
        check_labels(test_labels, len(test_features), "test_features")
    votes = knn_predict(
        train_features, train_labels, test_features, k, temperature, chunk_size, model
    )
    return votes.accuracy(test_labels)


def _default_k(size):
    return min(MAX_K, round(math.sqrt(size)))


def _votes(similarity, labels, num_classes, temperature):
    """Return the votes for each class, scaled in each test row so that exp() stays finite."""
    votes = np.zeros((len(labels), num_classes))
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    return votes
