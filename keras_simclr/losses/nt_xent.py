"""NT-Xent, the normalized temperature-scaled cross entropy of SimCLR, in O(N) memory."""

from typing import Any

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.ops.chunking import scan_chunks, set_in_rows
from keras_simclr.validation import check_positive, is_integer

MASKED = -1e9  # instead of minus infinity: finite in float32, with a gradient of zero
SHORTEST = 1e-7  # length from which on embeddings have unit length once normalized
TIE = 1e-6  # cosine similarities closer than this are equal up to rounding
CHUNK_LOGITS = 2**21  # logits per chunk, 8 MB
MIN_CHUNK = 128  # anchors; smaller chunks are slow, however many logits each anchor has


def nt_xent(
    z_a: Any,
    z_b: Any,
    temperature: float = 0.1,
    normalize: bool = True,
    chunk_size: int | str | None = "auto",
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
        Chen et al. 2020 (arXiv:2002.05709), section 2.1 and Algorithm 1.
    """
    return _compare(z_a, z_b, temperature, normalize, chunk_size)[0]


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
    return _compare(z_a, z_b, 1.0, True, chunk_size)[1]


@keras.saving.register_keras_serializable(package="keras_simclr")
class NTXentLoss(keras.losses.Loss):
    """NT-Xent as a Keras loss, called with the embeddings of the two views.

    Args:
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.
        chunk_size: Number of anchors whose logits exist at the same time, as in `nt_xent`.
            Defaults to "auto".
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
        Chen et al. 2020 (arXiv:2002.05709), section 2.1.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        normalize: bool = True,
        chunk_size: int | str | None = "auto",
        name: str = "nt_xent",
        **kwargs: Any,
    ):
        super().__init__(name=name, **{"dtype": "float32", **kwargs})
        check_temperature(temperature)
        _check_chunk_size(chunk_size)
        self.temperature = temperature
        self.normalize = normalize
        self.chunk_size = chunk_size

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each pair, of shape (N,)."""
        return nt_xent(y_true, y_pred, self.temperature, self.normalize, self.chunk_size)

    def with_accuracy(self, z_a: Any, z_b: Any) -> tuple[Any, Any]:
        """Return the loss and `contrastive_accuracy` from a single comparison.

        Args:
            z_a: Embeddings of the first views, of shape (N, D).
            z_b: Embeddings of the second views, of shape (N, D).

        Returns:
            The loss, and for each of the 2N views 1.0 if its positive is the nearest by the
            similarity that the loss uses, otherwise 0.0.
        """
        losses, nearest = _compare(z_a, z_b, self.temperature, self.normalize, self.chunk_size)
        return _Reduction(self.name, self.reduction)(losses, losses), nearest

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate the loss."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "normalize": self.normalize,
            "chunk_size": self.chunk_size,
        }


class _Reduction(keras.losses.Loss):
    """Keras' reduction of losses that are already computed."""

    def call(self, y_true, y_pred):
        return y_pred


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


def _compare(z_a, z_b, temperature, normalize, chunk_size):
    """Return the loss of each pair (N,), and 1.0 for each view (2N,) whose positive is nearest."""
    check_temperature(temperature)
    _check_chunk_size(chunk_size)
    z_a, z_b = ops.cast(z_a, "float32"), ops.cast(z_b, "float32")
    if normalize:
        z_a, z_b = _normalize(z_a), _normalize(z_b)

    def compare(z_a, z_b):
        anchors = ops.concatenate([z_a, z_b])  # (2n, D), those of one device
        embeddings = distribution.all_gather(anchors)  # (2N, D)
        offset = distribution.shard_offset(anchors)
        compared = _compare_anchors(anchors, embeddings, offset, temperature, chunk_size)
        losses = ops.mean(ops.reshape(compared[0], (2, -1)), axis=0)
        nearest = ops.cast(compared[1] > TIE / temperature, "float32")
        return ops.stack([losses, *ops.split(nearest, 2)], axis=1)  # (n, 3)

    compared = distribution.per_device(compare, z_a, z_b)
    return compared[:, 0], ops.concatenate([compared[:, 1], compared[:, 2]])


def _normalize(z):
    """Scale embeddings to unit length; those shorter than `SHORTEST` become shorter than that.

    Unlike `ops.normalize`, the gradient is finite everywhere, also at zero, and neither very short
    nor very long embeddings under- or overflow when they are squared.
    """
    largest = ops.max(ops.abs(z), axis=-1, keepdims=True)
    z = z / ops.stop_gradient(ops.maximum(largest, SHORTEST))
    square = ops.sum(ops.square(z), axis=-1, keepdims=True)  # at least 1, unless z was too short
    return z * ops.rsqrt(ops.maximum(square, 0.25))


def _compare_anchors(anchors, embeddings, offset, temperature, chunk_size):
    """Compare anchors with all embeddings.

    Args:
        anchors: Embeddings of the anchors, [n first views; n second views], of shape (2n, D).
        embeddings: All embeddings, of shape (2N, D).
        offset: Index in `embeddings` of the first anchor; the others follow it.
        temperature: Positive float.
        chunk_size: As in `nt_xent`.

    Returns:
        Tensor of shape (2, 2n): the loss of each anchor, which has a gradient, and the logit of
        its positive minus the largest logit of its negatives, which has none.
    """

    @ops.custom_gradient
    def compare(anchors, embeddings):
        given = anchors, embeddings, offset, temperature, chunk_size
        losses, margins, *gradients = _compare_chunks(*given, ops.ones_like(anchors[:, 0]))

        def gradient(*args, upstream=None):
            weights = (args[0] if upstream is None else upstream)[0]
            # A mean weights all anchors equally, so the gradients computed with the losses apply.
            return ops.cond(
                ops.all(weights == weights[0]),
                lambda: tuple(weights[0] * one for one in gradients),
                lambda: tuple(_compare_chunks(*given, weights)[2:]),
            )

        return ops.stack([losses, margins]), gradient

    return compare(anchors, embeddings)


def _compare_chunks(anchors, embeddings, offset, temperature, chunk_size, weights):
    """Return losses and margins (2n,), and the gradients of the weighted sum of the losses.

    The logits of an anchor with itself and with its positive are masked; the latter is added
    separately. With `p` the softmax, an anchor `z` of weight `w` with the positive `y` adds, in
    units of `w / temperature`,

    - `sum_k p(k) * z_k - (1 - p(y)) * y` to the gradient of `z`, where k runs over the negatives;
    - `p(k) * z` to the gradient of each `z_k`, and `-(1 - p(y)) * z` to that of `y`, which is an
      anchor itself.
    """
    count = ops.shape(anchors)[0]
    half = count // 2
    transposed = ops.transpose(embeddings)
    index = offset + ops.arange(count, dtype="int32")

    def compare_chunk(of_embeddings, chunk):
        anchors, positives, own, other, weights = chunk
        logits = ops.matmul(anchors * (1 / temperature), transposed)  # (chunk_size, 2N)
        logits = set_in_rows(logits, (own, other), MASKED)
        hardest = ops.max(logits, axis=1)
        positive = ops.sum(anchors * positives, axis=1) * (1 / temperature)
        top = ops.maximum(hardest, positive)
        exponentials = ops.exp(logits - ops.expand_dims(top, 1))  # (chunk_size, 2N)
        negatives = ops.sum(exponentials, axis=1)
        total = negatives + ops.exp(positive - top)
        scale = ops.expand_dims(weights / (temperature * total), 1)
        rest = ops.expand_dims(negatives, 1) * scale  # 1 - p(y), in units of w / temperature
        of_embeddings = of_embeddings + ops.matmul(ops.transpose(exponentials), scale * anchors)
        of_anchors = scale * ops.matmul(exponentials, embeddings) - rest * positives
        loss = ops.log(total) + top - positive
        values = ops.stack([loss, positive - hardest], axis=1)
        return of_embeddings, ops.concatenate([values, of_anchors, -rest * anchors], axis=1)

    of_embeddings, results = scan_chunks(
        compare_chunk,
        ops.zeros_like(embeddings),
        (anchors, ops.roll(anchors, half, axis=0), index, ops.roll(index, half, axis=0), weights),
        _number_of_anchors(chunk_size, count, ops.shape(embeddings)[0]),
    )
    end = 2 + embeddings.shape[1]
    of_anchors = results[:, 2:end] + ops.roll(results[:, end:], half, axis=0)
    return results[:, 0], results[:, 1], of_anchors, of_embeddings


def _number_of_anchors(chunk_size, anchors, embeddings):
    """Return the number of anchors per chunk, given the numbers of anchors and embeddings."""
    if chunk_size != "auto":
        return chunk_size or anchors
    fitting = CHUNK_LOGITS // embeddings
    if isinstance(embeddings, int):
        return max(MIN_CHUNK, fitting)
    return ops.maximum(MIN_CHUNK, fitting)
