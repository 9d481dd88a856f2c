"""NT-Xent, the normalised temperature-scaled cross entropy of SimCLR, in memory of O(N)."""

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.training.execution import put_in_rows, scan_blocks

MASKED = -1e9  # stands for minus infinity: float32 throughout, and a gradient of zero
TIE = 1e-6  # cosines closer than this are equal up to rounding
LOGITS_AT_ONCE = 2**21  # that a block may hold, 8 MB
LEAST_ROWS = 128  # of a block, for the sake of speed


def nt_xent(z_a, z_b, temperature=0.1, normalize=True, block_size="auto"):
    r"""Compute the NT-Xent loss of each pair of views.

    With `s` the cosine similarity and `z` all 2N embeddings, an anchor `i` whose other view is
    `j` has the loss

    `l(i) = -log(exp(s(i, j) / temperature) / sum_{k != i} exp(s(i, k) / temperature))`

    and a pair the mean of its two anchors' losses. The 2N x 2N logits exist only `block_size`
    rows at a time; loss and gradient are exact. Over several devices the pairs are those of one
    device, and their rivals those of all.

    Args:
        z_a: Embeddings of the first views, of shape (N, D). Any float dtype; computed in float32.
        z_b: Embeddings of the second views, of shape (N, D); row k belongs to row k of `z_a`.
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.
        block_size: Anchors whose logits exist at once, a positive integer; None for all 2N.
            Defaults to "auto": as many as are fast, all of them up to N = 724.

    Returns:
        The loss of each pair, of shape (N,), float32. Its mean is the paper's loss: the mean over
        all 2N anchors, half of what the authors' code prints.

    Raises:
        ValueError: If `temperature` or `block_size` is not positive.

    Example:
    >>> import numpy as np
    >>> z = np.eye(4, 8, dtype="float32")
    >>> nt_xent(z, z, temperature=0.5).shape == (4,)
    True

    Source: Chen et al. 2020 (arXiv:2002.05709), section 2.1 and Algorithm 1.
    """
    return _compare(z_a, z_b, temperature, normalize, block_size)[0]


def contrastive_accuracy(z_a, z_b, block_size="auto"):
    """Tell for each of the 2N views whether its other view is the nearest of the 2N-1 others.

    The positive must be strictly above every other, so a collapsed model, whose embeddings are
    all alike, scores 0.

    Args:
        z_a: Embeddings of the first views, of shape (N, D).
        z_b: Embeddings of the second views, of shape (N, D).
        block_size: As in `nt_xent`.

    Returns:
        1.0 where the positive comes first, 0.0 elsewhere; of shape (2N,), float32.

    Example:
    >>> import numpy as np
    >>> z = np.eye(4, 8, dtype="float32")
    >>> float(contrastive_accuracy(z, z)[0])
    1.0
    """
    return _compare(z_a, z_b, 1.0, True, block_size)[1]


@keras.saving.register_keras_serializable(package="keras_simclr")
class NTXentLoss(keras.losses.Loss):
    """NT-Xent as a Keras loss, called with the embeddings of the two views.

    Args:
        temperature: Positive float. Defaults to 0.1.
        normalize: Whether to scale each embedding to unit length first. Defaults to True.
        block_size: Anchors whose logits exist at once, as in `nt_xent`. Defaults to "auto".
        name: Name of the loss.
        **kwargs: `reduction` and `dtype` of `keras.losses.Loss`.

    Returns:
        When called with `(z_a, z_b)`, each of shape (N, D): the mean over all 2N anchors.

    Raises:
        ValueError: If `temperature` or `block_size` is not positive.

    Example:
    >>> import numpy as np
    >>> collapsed = np.ones((4, 8), "float32")
    >>> round(float(NTXentLoss()(collapsed, collapsed)), 4)  # ln(2N - 1)
    1.9459

    Source: Chen et al. 2020 (arXiv:2002.05709), section 2.1.
    """

    def __init__(
        self, temperature=0.1, normalize=True, block_size="auto", name="nt_xent", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        check_temperature(temperature)
        _check_block_size(block_size)
        self.temperature = temperature
        self.normalize = normalize
        self.block_size = block_size

    def call(self, y_true, y_pred):
        """Return the loss of each pair, of shape (N,)."""
        return nt_xent(y_true, y_pred, self.temperature, self.normalize, self.block_size)

    def with_accuracy(self, z_a, z_b):
        """Return the loss, and from the same comparison what `contrastive_accuracy` gives.

        Args:
            z_a: Embeddings of the first views, of shape (N, D).
            z_b: Embeddings of the second views, of shape (N, D).

        Returns:
            The loss, and for each of the 2N views whether its positive is the nearest by the
            similarity that the loss uses, 1.0 or 0.0.
        """
        losses, nearest = _compare(z_a, z_b, self.temperature, self.normalize, self.block_size)
        return _Reduced(self.name, self.reduction)(losses, losses), nearest

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "normalize": self.normalize,
            "block_size": self.block_size,
        }


class _Reduced(keras.losses.Loss):
    """The mean, or another reduction, of losses that are known."""

    def call(self, y_true, y_pred):
        return y_pred


def check_temperature(temperature):
    """Raise a ValueError unless `temperature` is positive."""
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive. Received: temperature={temperature}. "
            "The papers use 0.1, and 0.5 for CIFAR-sized pictures."
        )


def _check_block_size(block_size):
    if block_size in ("auto", None):
        return
    if not isinstance(block_size, int) or block_size < 1:
        raise ValueError(
            '`block_size` must be a positive integer, None (all rows at once) or "auto". '
            f"Received: block_size={block_size!r}."
        )


def _compare(z_a, z_b, temperature, normalize, block_size):
    """Return the loss of each pair (N,), and 1.0 for each view (2N,) whose positive is nearest."""
    check_temperature(temperature)
    _check_block_size(block_size)
    z_a, z_b = ops.cast(z_a, "float32"), ops.cast(z_b, "float32")
    if normalize:
        z_a, z_b = ops.normalize(z_a, axis=-1), ops.normalize(z_b, axis=-1)

    def compare(z_a, z_b):
        rows = ops.concatenate([z_a, z_b])
        columns = distribution.gather(rows)
        first = distribution.first_row(rows)
        compared = _anchors(rows, columns, first, temperature, block_size)
        losses = ops.mean(ops.reshape(compared[0], (2, -1)), axis=0)
        nearest = ops.cast(compared[1] > TIE / temperature, "float32")
        return ops.stack([losses, *ops.split(nearest, 2)], axis=1)

    compared = distribution.per_device(compare, z_a, z_b)
    return compared[:, 0], ops.concatenate([compared[:, 1], compared[:, 2]])


def _anchors(rows, columns, first, temperature, block_size):
    """Compare anchors with all embeddings, in blocks of anchors.

    Args:
        rows: Embeddings of the anchors, [n first views; n second views], of shape (2n, D).
        columns: All embeddings, of shape (2N, D).
        first: Number of the column that is the first anchor; the others follow it.
        temperature: Positive float.
        block_size: As in `nt_xent`.

    Returns:
        Tensor of shape (2, 2n): the loss of each anchor, with its gradient, and by how much the
        logit of its positive is above all others.
    """

    @ops.custom_gradient
    def compare(rows, columns):
        equal = ops.ones_like(rows[:, 0])
        losses, margins, *gradients = _in_blocks(
            rows, columns, first, equal, temperature, block_size
        )

        def gradient(*given, upstream=None):
            weights = (given[0] if upstream is None else upstream)[0]
            return ops.cond(
                ops.all(weights == weights[0]),
                lambda: tuple(weights[0] * part for part in gradients),
                lambda: tuple(
                    _in_blocks(rows, columns, first, weights, temperature, block_size)[2:]
                ),
            )

        return ops.stack([losses, margins]), gradient

    return compare(rows, columns)


def _in_blocks(rows, columns, first, weights, temperature, block_size):
    """Return losses and margins (2n,), and the gradients of the weighted sum of the losses.

    Every anchor's own logit and that of its positive are taken out of the block, the first for
    good, the second to be added by itself. With `p` the softmax, an anchor `z` of the weight `w`
    and the positive `y` then adds, in units of `w / temperature`,

    - `sum(p(k) * z_k) - rest * y` to the gradient of `z`, where k goes over all others and `rest`
      is their share, `1 - p(y)`;
    - `p(k) * z` to that of each `z_k`, and `-rest * z` to that of `y`, which is an anchor too.
    """
    count = ops.shape(rows)[0]
    size = _block_size(block_size, count, ops.shape(columns)[0])
    half = count // 2
    columns_t = ops.transpose(columns)
    own = first + ops.arange(count)

    def compare_block(of_columns, block):
        anchors, positives, own, other, weights = block
        logits = ops.matmul(anchors * (1 / temperature), columns_t)  # (size, 2N)
        logits = put_in_rows(logits, (own, other), MASKED)
        hardest = ops.max(logits, axis=1)
        positive = ops.sum(anchors * positives, axis=1) * (1 / temperature)
        top = ops.maximum(hardest, positive)
        shares = ops.exp(logits - ops.expand_dims(top, 1))  # (size, 2N)
        others = ops.sum(shares, axis=1)
        total = others + ops.exp(positive - top)
        scale = ops.expand_dims(weights / (temperature * total), 1)
        rest = ops.expand_dims(others, 1) * scale
        of_columns = of_columns + ops.matmul(ops.transpose(shares), scale * anchors)
        of_anchors = scale * ops.matmul(shares, columns) - rest * positives
        loss = ops.log(total) + top - positive
        numbers = ops.stack([loss, positive - hardest], axis=1)
        return of_columns, ops.concatenate([numbers, of_anchors, -rest * anchors], axis=1)

    of_columns, results = scan_blocks(
        compare_block,
        ops.zeros_like(columns),
        (rows, ops.roll(rows, half, axis=0), own, ops.roll(own, half, axis=0), weights),
        size,
    )
    end = 2 + columns.shape[1]
    of_rows = results[:, 2:end] + ops.roll(results[:, end:], half, axis=0)
    return results[:, 0], results[:, 1], of_rows, of_columns


def _block_size(block_size, count, columns):
    if block_size != "auto":
        return block_size or count
    fitting = LOGITS_AT_ONCE // columns
    if isinstance(columns, int):
        return max(LEAST_ROWS, fitting)
    return ops.maximum(LEAST_ROWS, fitting)
