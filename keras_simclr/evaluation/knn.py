"""Classification by the nearest neighbours in feature space."""

import numpy as np
from keras import ops

from keras_simclr.evaluation.features import checked_features, classes_of


def knn_accuracy(
    train_features,
    train_labels,
    test_features,
    test_labels,
    k=200,
    temperature=0.1,
    block_size=1024,
):
    r"""Compute how often the weighted vote of the k nearest neighbours is right.

    With `s` the cosine similarity, each of the k rows of the bank most similar to a test row
    votes for its own class:

    `votes(c) = sum_{i among the k nearest, label(i) = c} exp(s(i) / temperature)`

    Args:
        train_features: The bank, array of shape (M, D); compared in float32.
        train_labels: Classes of the bank, of shape (M,).
        test_features: Array of shape (N, D).
        test_labels: Classes to be found, of shape (N,).
        k: Neighbours that vote; all M if the bank is smaller. Defaults to 200.
        temperature: Positive float. Defaults to 0.1.
        block_size: Test rows compared at a time, which takes 4 * block_size * M bytes.
            Defaults to 1024.

    Returns:
        The share of test rows given their own class, a float in 0..1.

    Raises:
        ValueError: If shapes or lengths do not fit, a feature is not finite, the bank has one
            class only, or `k`, `temperature` or `block_size` is not positive.

    Example:
    >>> bank, query = [[1.0, 0.0], [0.0, 1.0]], [[0.9, 0.1], [0.2, 0.8]]
    >>> knn_accuracy(bank, ["cat", "dog"], query, ["cat", "cat"], k=1)
    0.5

    Source: Wu et al. 2018 (arXiv:1805.01978), section 3.4.
    """
    _check_positive(k=k, temperature=temperature, block_size=block_size)
    bank, train_labels = checked_features(train_features, train_labels, "train_features")
    queries, test_labels = checked_features(test_features, test_labels, "test_features")
    if bank.shape[1] != queries.shape[1]:
        raise ValueError(
            "Features must all have the same dimension. Received: "
            f"{bank.shape[1]} in train_features and {queries.shape[1]} in test_features."
        )
    classes, places = classes_of(train_labels)
    bank = ops.transpose(ops.normalize(bank, axis=-1))  # (D, M)
    right = 0
    for start in range(0, len(queries), block_size):
        block = slice(start, start + block_size)
        similarity = ops.matmul(ops.normalize(queries[block], axis=-1), bank)
        nearest = ops.top_k(similarity, min(k, len(places)))
        votes = _votes(*(ops.convert_to_numpy(part) for part in nearest), places, temperature)
        right += int(np.sum(classes[votes.argmax(axis=1)] == test_labels[block]))
    return right / len(queries)


def _votes(similarity, rows, places, temperature):
    """Return the votes for each class, up to a factor a test row, which keeps exp() finite."""
    votes = np.zeros((len(rows), places.max() + 1))
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / temperature)
    np.add.at(votes, (np.arange(len(rows))[:, None], places[rows]), weights)
    return votes


def _check_positive(**arguments):
    for name, value in arguments.items():
        if not value > 0:
            raise ValueError(f"`{name}` must be positive. Received: {name}={value}.")
