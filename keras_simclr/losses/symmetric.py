"""Comparison of all embeddings of one device with each other, each pair once.

Cosine similarities are symmetric: of chunks of anchors in a circle, each is compared with itself
and with the half of the circle that follows it. The embeddings of the positives are half a circle
away, so they are the diagonal of the last chunk of that half.
"""

from keras import ops

from keras_simclr.ops.row_chunks import (
    rows_from,
    scan_chunks,
    set_diagonal,
    update_rows,
    updates_rows_in_place,
)

CHUNK_SIZE = 256  # anchors
MIN_PAIRS = 1024  # below, so few chunks are faster compared with all others
MIN_TEMPERATURE = 0.04  # below, exp((s - 1) / temperature) loses digits


def allows_symmetry(count, temperature, normalize):
    """Return whether `compare_all` can compare this number of embeddings.

    Args:
        count: Number 2N of embeddings, an integer or, on TensorFlow, a scalar tensor.
        temperature: Positive float.
        normalize: Whether the embeddings have unit length.
    """
    if not updates_rows_in_place() or not normalize or temperature < MIN_TEMPERATURE:
        return False
    return count % (2 * CHUNK_SIZE) == 0 and count >= 2 * MIN_PAIRS


def compare_all(z, temperature, decoupled, weights):
    """Compare each embedding with all others.

    With `e(i, k) = exp((s(i, k) - 1) / temperature)` for two embeddings that are negatives, and
    `a(i)` the weight of anchor i over `temperature` and the sum in its denominator, the gradient of
    `z_i` is `sum_k e(i, k) (a(i) + a(k)) z_k`, less what its positive adds. The first pass
    computes the sums, the second one the gradient.

    Args:
        z: Embeddings of unit length, [N first views; N second views], of shape (2N, D).
        temperature: Positive float.
        decoupled: Whether the positive is left out of the denominator.
        weights: Weight of the loss of each anchor, of shape (2N,).

    Returns:
        The loss of each anchor, and the logit of its positive minus the largest one of its
        negatives, each of shape (2N,), and the gradient of the weighted sum of the losses (2N, D).
    """
    count = ops.shape(z)[0]
    width = count // 2 + CHUNK_SIZE  # embeddings that a chunk is compared with
    circle = ops.concatenate([z, z])
    index = ops.arange(count, dtype="int32")

    def exponentials(anchors, compared):
        logits = ops.matmul(anchors * (1 / temperature), ops.transpose(compared))
        return set_diagonal(ops.exp(logits - 1 / temperature), CHUNK_SIZE)  # (CHUNK_SIZE, width)

    def add_sums(sums, chunk):
        anchors, index = chunk
        values = exponentials(anchors, rows_from(circle, index[0], width))
        of_others = _sums_and_largest(values[:, CHUNK_SIZE:], 0)
        return update_rows(sums, index[0] + CHUNK_SIZE, of_others, _add), _sums_and_largest(
            values, 1
        )

    of_others, of_anchors = scan_chunks(add_sums, ops.zeros((2 * count, 2)), (z, index), CHUNK_SIZE)
    negatives, largest = ops.unstack(
        _add(of_anchors, _add(of_others[:count], of_others[count:])), axis=1
    )
    positives = ops.roll(z, count // 2, axis=0)
    positive = (ops.sum(z * positives, axis=1) - 1) * (1 / temperature)
    total = negatives if decoupled else negatives + ops.exp(positive)
    scale = ops.expand_dims(weights / (temperature * total), 1)
    scales = ops.concatenate([scale, scale])

    def add_gradients(gradients, chunk):
        anchors, index, scale = chunk
        compared = rows_from(circle, index[0], width)
        values = exponentials(anchors, compared)
        values = values * (scale + ops.transpose(rows_from(scales, index[0], width)))
        of_others = ops.matmul(ops.transpose(values[:, CHUNK_SIZE:]), anchors)
        gradients = update_rows(gradients, index[0] + CHUNK_SIZE, of_others, ops.add)
        return gradients, ops.matmul(values, compared)

    of_others, of_anchors = scan_chunks(
        add_gradients, ops.zeros_like(circle), (z, index, scale), CHUNK_SIZE
    )
    rest = scale * ops.expand_dims(negatives, 1)  # 1 - p(y) of the softmax, in the same units
    rest = rest + ops.roll(rest, count // 2, axis=0)
    gradient = of_anchors + of_others[:count] + of_others[count:] - rest * positives
    return ops.log(total) - positive, positive - ops.log(largest), gradient


def _sums_and_largest(values, axis):
    return ops.stack([ops.sum(values, axis=axis), ops.max(values, axis=axis)], axis=1)


def _add(one, other):
    """Combine rows of (sum, largest)."""
    return ops.stack([one[:, 0] + other[:, 0], ops.maximum(one[:, 1], other[:, 1])], axis=1)
