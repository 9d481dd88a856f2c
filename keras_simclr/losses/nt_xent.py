"""NT-Xent, the normalized temperature-scaled cross entropy of SimCLR, in O(N) memory."""

from typing import Any

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.losses.comparison import compare_views
from keras_simclr.validation import check_positive, is_integer


def nt_xent(
    z_a: Any,
    z_b: Any,
    temperature: float = 0.1,
    normalize: bool = True,
    chunk_size: int | str | None = "auto",
    decoupled: bool = False,
) -> Any:
    r"""Compute the NT-Xent loss of each pair of views.

    With `s` the cosine similarity of two of the 2N embeddings, an anchor `i` whose other view is
    `j` has the loss

    `l(i) = -log(exp(s(i, j) / temperature) / sum_{k != i} exp(s(i, k) / temperature))`

    and the loss of a pair is the mean over its two anchors. Only `chunk_size` rows of the 2N x 2N
    logits exist at a time; loss and gradient are exact. On several devices, each device computes
    the losses of its own pairs, with the negatives of all devices.

    Args:
        z_a: Embeddings of the first views, of shape (N, D). Any float dtype; computed in float32.
        z_b: Embeddings of the second views, of shape (N, D), in the order of `z_a`.
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.
        chunk_size: Number of anchors whose logits exist at the same time: a positive integer, or
            None for all 2N. Defaults to "auto": a size that is fast, all 2N up to N = 724.
        decoupled: Whether to leave the positive `j` out of the sum in the denominator, which is
            then over the negatives alone. Defaults to False.

    Returns:
        The loss of each pair, of shape (N,), float32. Its mean is the loss of the paper, a mean
        over all 2N anchors; the authors' code reports twice that.

    Raises:
        ValueError: If `temperature` or `chunk_size` is not positive.

    Example:
    >>> import numpy as np
    >>> z = np.eye(4, 8, dtype="float32")
    >>> nt_xent(z, z, temperature=0.5).shape == (4,)
    True

    References:
        Chen et al. 2020 (arXiv:2002.05709), section 2.1 and Algorithm 1. Decoupled: Yeh et al.
        2022 (arXiv:2110.06848), section 3.
    """
    check_temperature(temperature)
    _check_chunk_size(chunk_size)
    return compare_views(z_a, z_b, temperature, normalize, chunk_size, decoupled)[0]


def contrastive_accuracy(z_a: Any, z_b: Any, chunk_size: int | str | None = "auto") -> Any:
    """Compute for each of the 2N views whether its positive is the nearest of the 2N-1 others.

    The positive must be strictly nearer than every negative, so a collapsed model, whose
    embeddings are all the same, scores 0.

    Args:
        z_a: Embeddings of the first views, of shape (N, D).
        z_b: Embeddings of the second views, of shape (N, D).
        chunk_size: As in `nt_xent`.

    Returns:
        1.0 where the positive is the nearest, 0.0 elsewhere; of shape (2N,), float32.

    Example:
    >>> import numpy as np
    >>> z = np.eye(4, 8, dtype="float32")
    >>> float(contrastive_accuracy(z, z)[0])
    1.0
    """
    _check_chunk_size(chunk_size)
    return compare_views(z_a, z_b, 1.0, True, chunk_size)[1]


@keras.saving.register_keras_serializable(package="keras_simclr")
class NTXentLoss(keras.losses.Loss):
    """NT-Xent as a Keras loss, called with the embeddings of the two views.

    Args:
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.
        chunk_size: Number of anchors whose logits exist at the same time, as in `nt_xent`.
            Defaults to "auto".
        decoupled: Whether to leave the positive out of the denominator (decoupled contrastive
            learning), for which lower temperatures and smaller batches suffice. Defaults to False.
        name: Name of the loss. Defaults to "nt_xent".
        **kwargs: `reduction` and `dtype` of `keras.losses.Loss`.

    Returns:
        When called with `(z_a, z_b)`, each of shape (N, D): the mean over all 2N anchors.

    Raises:
        ValueError: If `temperature` or `chunk_size` is not positive.

    Example:
    >>> import numpy as np
    >>> collapsed = np.ones((4, 8), "float32")
    >>> round(float(NTXentLoss()(collapsed, collapsed)), 4)  # ln(2N - 1)
    1.9459

    References:
        Chen et al. 2020 (arXiv:2002.05709), section 2.1. Decoupled: Yeh et al. 2022
        (arXiv:2110.06848).
    """

    def __init__(
        self,
        temperature: float = 0.1,
        normalize: bool = True,
        chunk_size: int | str | None = "auto",
        decoupled: bool = False,
        name: str = "nt_xent",
        **kwargs: Any,
    ):
        super().__init__(name=name, **{"dtype": "float32", **kwargs})
        check_temperature(temperature)
        _check_chunk_size(chunk_size)
        self.temperature = temperature
        self.normalize = normalize
        self.chunk_size = chunk_size
        self.decoupled = decoupled

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each pair, of shape (N,)."""
        options = self.temperature, self.normalize, self.chunk_size, self.decoupled
        return nt_xent(y_true, y_pred, *options)

    def with_accuracy(self, z_a: Any, z_b: Any) -> tuple[Any, Any]:
        """Return the loss and `contrastive_accuracy` from a single comparison.

        Args:
            z_a: Embeddings of the first views, of shape (N, D).
            z_b: Embeddings of the second views, of shape (N, D).

        Returns:
            The loss, and for each of the 2N views 1.0 if its positive is the nearest by the
            similarity that the loss uses, otherwise 0.0.
        """
        options = self.temperature, self.normalize, self.chunk_size, self.decoupled
        if self.reduction in (None, "none"):
            return compare_views(z_a, z_b, *options)
        losses, nearest = compare_views(z_a, z_b, *options, equal_weights=True)
        if self.reduction == "sum":
            return ops.sum(losses), nearest
        return ops.mean(losses) / distribution.loss_divisor(), nearest

    def of_collapsed_model(self, num_embeddings: Any) -> Any:
        """Return the loss of a collapsed model, whose embeddings are all the same.

        Args:
            num_embeddings: Number 2N of embeddings, as a float tensor.
        """
        return ops.log(num_embeddings - 1 - int(self.decoupled))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate the loss."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "normalize": self.normalize,
            "chunk_size": self.chunk_size,
            "decoupled": self.decoupled,
        }


def check_temperature(temperature: float) -> None:
    """Raise a ValueError unless `temperature` is positive."""
    cure = "The papers use 0.1, and 0.5 for CIFAR-sized images."
    check_positive("temperature", temperature, cure)


def _check_chunk_size(chunk_size):
    if chunk_size in ("auto", None):
        return
    if not is_integer(chunk_size) or chunk_size < 1:
        raise ValueError(
            '`chunk_size` must be a positive integer, None (all anchors at once) or "auto". '
            f"Received: chunk_size={chunk_size!r}."
        )
