"""NT-Xent, the normalised temperature-scaled cross entropy of SimCLR."""

import keras
from keras import ops

MASKED = -1e9  # stands for minus infinity: float32 throughout, and a gradient of zero
TIE = 1e-6  # cosines closer than this are equal up to rounding


def nt_xent(z_a, z_b, temperature=0.1, normalize=True):
    r"""Compute the NT-Xent loss of each pair of views.

    With `s` the cosine similarity and `z` all 2N embeddings, an anchor `i` whose other view is
    `j` has the loss

    `l(i) = -log(exp(s(i, j) / temperature) / sum_{k != i} exp(s(i, k) / temperature))`

    and a pair the mean of its two anchors' losses.

    Args:
        z_a: Embeddings of the first views, of shape (N, D). Any float dtype; computed in float32.
        z_b: Embeddings of the second views, of shape (N, D); row k belongs to row k of `z_a`.
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.

    Returns:
        The loss of each pair, of shape (N,), float32. Its mean is the paper's loss: the mean over
        all 2N anchors, half of what the authors' code prints.

    Raises:
        ValueError: If `temperature` is not positive.

    Example:
    >>> import numpy as np
    >>> z = np.eye(4, 8, dtype="float32")
    >>> nt_xent(z, z, temperature=0.5).shape == (4,)
    True

    Source: Chen et al. 2020 (arXiv:2002.05709), section 2.1 and Algorithm 1.
    """
    check_temperature(temperature)
    similarity, positive = _similarities(z_a, z_b, normalize)
    similarity, positive = similarity / temperature, positive / temperature
    anchor_losses = ops.logsumexp(similarity, axis=1) - ops.concatenate([positive, positive])
    return ops.mean(ops.reshape(anchor_losses, (2, -1)), axis=0)


def contrastive_accuracy(z_a, z_b):
    """Tell for each of the 2N views whether its other view is the nearest of the 2N-1 others.

    The positive must be strictly above every other, so a collapsed model, whose embeddings are
    all alike, scores 0.

    Args:
        z_a: Embeddings of the first views, of shape (N, D).
        z_b: Embeddings of the second views, of shape (N, D).

    Returns:
        1.0 where the positive comes first, 0.0 elsewhere; of shape (2N,), float32.

    Example:
    >>> import numpy as np
    >>> z = np.eye(4, 8, dtype="float32")
    >>> float(contrastive_accuracy(z, z)[0])
    1.0
    """
    similarity, positive = _similarities(z_a, z_b, normalize=True)
    count = ops.shape(positive)[0]
    row = ops.arange(2 * count)
    is_positive = row[None, :] == ops.expand_dims((row + count) % (2 * count), 1)
    hardest = ops.max(ops.where(is_positive, MASKED, similarity), axis=1)
    above = ops.concatenate([positive, positive]) > hardest + TIE
    return ops.cast(above, "float32")


@keras.saving.register_keras_serializable(package="keras_simclr")
class NTXentLoss(keras.losses.Loss):
    """NT-Xent as a Keras loss, called with the embeddings of the two views.

    Args:
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.
        name: Name of the loss.
        **kwargs: `reduction` and `dtype` of `keras.losses.Loss`.

    Returns:
        When called with `(z_a, z_b)`, each of shape (N, D): the mean over all 2N anchors.

    Raises:
        ValueError: If `temperature` is not positive.

    Example:
    >>> import numpy as np
    >>> collapsed = np.ones((4, 8), "float32")
    >>> round(float(NTXentLoss()(collapsed, collapsed)), 4)  # ln(2N - 1)
    1.9459

    Source: Chen et al. 2020 (arXiv:2002.05709), section 2.1.
    """

    def __init__(self, temperature=0.1, normalize=True, name="nt_xent", **kwargs):
        super().__init__(name=name, **kwargs)
        check_temperature(temperature)
        self.temperature = temperature
        self.normalize = normalize

    def call(self, y_true, y_pred):
        """Return the loss of each pair, of shape (N,)."""
        return nt_xent(y_true, y_pred, self.temperature, self.normalize)

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "normalize": self.normalize,
        }


def check_temperature(temperature):
    """Raise a ValueError unless `temperature` is positive."""
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive. Received: temperature={temperature}. "
            "The papers use 0.1, and 0.5 for CIFAR-sized pictures."
        )


def _similarities(z_a, z_b, normalize):
    """Return all similarities (2N, 2N), an anchor's own masked, and those of the pairs (N,)."""
    z_a, z_b = ops.cast(z_a, "float32"), ops.cast(z_b, "float32")
    if normalize:
        z_a, z_b = ops.normalize(z_a, axis=-1), ops.normalize(z_b, axis=-1)
    z = ops.concatenate([z_a, z_b])
    similarity = ops.matmul(z, ops.transpose(z))  # (2N, 2N)
    row = ops.arange(ops.shape(z)[0])
    similarity = ops.where(row[:, None] == row[None, :], MASKED, similarity)
    return similarity, ops.sum(z_a * z_b, axis=-1)
