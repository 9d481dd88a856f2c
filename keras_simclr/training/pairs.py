"""The loss of a step: that of all pairs of views."""

import itertools
from typing import Any

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.losses import NTXentLoss, contrastive_accuracy


def compare_pairs(loss: Any, z: Any) -> tuple[Any, Any]:
    """Compare the views of a batch, two of each image at a time.

    Args:
        loss: `NTXentLoss`, or any function of the embeddings of two views, each (N, D).
        z: Embeddings of K views of each image, of shape (N, K, D).

    Returns:
        The mean loss of the K (K - 1) / 2 pairs of views, and for each view in each pair 1.0 if
        its positive is the nearest of the other 2N-1 views in the pair, otherwise 0.0.
    """
    pairs = itertools.combinations(ops.unstack(z, axis=1), 2)
    losses, correct = zip(*(_compare(loss, *pair) for pair in pairs), strict=True)
    return ops.cast(sum(losses) / len(losses), "float32"), ops.concatenate(correct)


def weights_while_finite(total: Any, correct: Any) -> Any:
    """Return a weight of 1 for each view, or of 0 once the total of the losses is not finite.

    So the accuracy counts the steps before the first one with such a loss.
    """
    return ops.ones_like(correct) * ops.cast(ops.isfinite(total), correct.dtype)


def loss_of_collapsed_model(loss: Any, num_embeddings: Any) -> Any:
    """Return the loss of 2N = `num_embeddings` embeddings that are all the same."""
    known = loss if isinstance(loss, NTXentLoss) else NTXentLoss()
    return known.of_collapsed_model(num_embeddings)


def _compare(loss, z_a, z_b):
    if isinstance(loss, NTXentLoss):
        return loss.with_accuracy(z_a, z_b)
    value = loss(distribution.all_gather(z_a), distribution.all_gather(z_b))
    if not isinstance(loss, keras.losses.Loss):
        value = ops.mean(value) / distribution.loss_divisor()
    return value, contrastive_accuracy(z_a, z_b)
