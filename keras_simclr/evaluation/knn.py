"""Classification by the nearest neighbors in feature space."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_simclr.evaluation.features import check_features, encode_labels
from keras_simclr.validation import check_positive, check_positive_integer

MAX_K = 200  # the usual value


def knn_accuracy(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    test_labels: Any,
    k: int | None = None,
    temperature: float = 0.1,
    chunk_size: int = 1024,
) -> float:
    r"""Compute the accuracy of the weighted vote of the k nearest neighbors.

    With `s` the cosine similarity to a test row, each of the k rows of the bank that are most
    similar to it votes for its own class:

    `votes(c) = sum_{i among the k nearest, label(i) = c} exp(s(i) / temperature)`

    Args:
        train_features: The bank, array of shape (M, D); compared in float32.
        train_labels: Classes of the bank, of shape (M,).
        test_features: Array of shape (N, D).
        test_labels: True classes of the test rows, of shape (N,).
        k: Number of neighbors that vote, at most M. Defaults to None: `min(200, round(sqrt(M)))`,
            which is the usual 200 for a bank of 40,000 or more. Pass it to compare banks of
            different sizes.
        temperature: Positive float. Defaults to 0.1.
        chunk_size: Number of test rows compared at a time, which takes 4 * chunk_size * M bytes.
            Defaults to 1024.

    Returns:
        The fraction of test rows that are classified correctly, a float in 0..1.

    Raises:
        ValueError: If shapes do not match, a feature is not finite, the bank has only one class,
            or `k`, `temperature` or `chunk_size` is not positive.

    Example:
    >>> bank, test = [[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.2, 0.8]]
    >>> knn_accuracy(bank, ["cat", "dog"], test, ["cat", "cat"], k=1)
    0.5

    References:
        Wu et al. 2018 (arXiv:1805.01978), section 3.4.
    """
    if k is not None:
        check_positive_integer("k", k)
    check_positive("temperature", temperature)
    check_positive_integer("chunk_size", chunk_size)
    bank, train_labels = check_features(train_features, train_labels, "train_features")
    test, test_labels = check_features(test_features, test_labels, "test_features")
    if bank.shape[1] != test.shape[1]:
        raise ValueError(
            "`train_features` and `test_features` must have the same dimension. Received: "
            f"{bank.shape[1]} in train_features and {test.shape[1]} in test_features."
        )
    classes, indices = encode_labels(train_labels)
    k = min(k or _default_k(len(bank)), len(bank))
    bank = ops.transpose(ops.normalize(bank, axis=-1))  # (D, M)
    correct = 0
    for start in range(0, len(test), chunk_size):
        chunk = slice(start, start + chunk_size)
        similarity = ops.matmul(ops.normalize(test[chunk], axis=-1), bank)  # (chunk_size, M)
        nearest, rows = map(ops.convert_to_numpy, ops.top_k(similarity, k))  # (chunk_size, k)
        votes = _votes(nearest, rows, indices, temperature)
        correct += int(np.sum(classes[votes.argmax(axis=1)] == test_labels[chunk]))
    return correct / len(test)


def _default_k(size):
    return min(MAX_K, round(math.sqrt(size)))


def _votes(similarity, rows, indices, temperature):
    """Return the votes for each class, scaled in each test row so that exp() stays finite."""
    votes = np.zeros((len(rows), indices.max() + 1))
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
    np.add.at(votes, (np.arange(len(rows))[:, None], indices[rows]), weights)
    return votes
