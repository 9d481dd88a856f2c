"""Comparison of all views of a batch, in chunks, with the exact gradient."""

from keras import ops

from keras_simclr import distribution
from keras_simclr.losses.symmetric import allows_symmetry, compare_all
from keras_simclr.ops.custom_gradient import custom_gradient
from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.row_chunks import scan_chunks, set_in_rows

MASKED = -1e9  # instead of minus infinity: finite in float32, with a gradient of zero
SHORTEST = 1e-7  # length from which on embeddings have unit length once normalized
TIE = 1e-6  # cosine similarities closer than this are equal up to rounding
CHUNK_LOGITS = 2**21  # logits per chunk, 8 MB
# On a GPU 256 MB, of which a few exist at a time: their product takes far longer than the start of
# its kernels, so that larger chunks would not be faster. All anchors up to 2N = 8,192.
GPU_CHUNK_LOGITS = 2**26
MIN_CHUNK = 128  # anchors; smaller chunks are slow, however many logits each anchor has


def compare_views(
    z_a, z_b, temperature, normalize, chunk_size, decoupled=False, equal_weights=False
):
    """Compare each view with all others.

    Args:
        z_a: Embeddings of the first views, of shape (N, D).
        z_b: Embeddings of the second views, of shape (N, D).
        temperature: Positive float.
        normalize: Whether to scale each embedding to unit length first.
        chunk_size: Anchors whose logits exist at the same time, None for all, or "auto".
        decoupled: Whether the positive is left out of the denominator. Defaults to False.
        equal_weights: Whether the losses of all pairs have the same weight, as in their mean, so
            that no branch is needed to compute the gradient. Defaults to False.

    Returns:
        The loss of each pair, of shape (N,), and for each view 1.0 if its positive is the nearest
        of all others, otherwise 0.0, of shape (2N,).
    """
    z_a, z_b = ops.cast(z_a, "float32"), ops.cast(z_b, "float32")
    if normalize:
        z_a, z_b = _normalize(z_a), _normalize(z_b)

    def compare(z_a, z_b):
        anchors = ops.concatenate([z_a, z_b])  # (2n, D), those of one device
        embeddings = distribution.all_gather(anchors)  # (2N, D)
        offset = distribution.shard_offset(anchors)
        symmetric = embeddings is anchors and chunk_size == "auto" and not for_gpu()
        symmetric = symmetric and allows_symmetry(ops.shape(anchors)[0], temperature, normalize)
        given = anchors, embeddings, offset, temperature, chunk_size, decoupled
        compared = _compare_anchors(*given, symmetric, equal_weights)
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


def _compare_anchors(
    anchors, embeddings, offset, temperature, chunk_size, decoupled, symmetric, equal_weights
):
    """Compare anchors with all embeddings.

    Args:
        anchors: Embeddings of the anchors, [n first views; n second views], of shape (2n, D).
        embeddings: All embeddings, of shape (2N, D).
        offset: Index in `embeddings` of the first anchor; the others follow it.
        temperature: Positive float.
        chunk_size: As in `compare_views`.
        decoupled: As in `compare_views`.
        symmetric: Whether the anchors are all embeddings, and `compare_all` can compare them.
        equal_weights: As in `compare_views`.

    Returns:
        Tensor of shape (2, 2n): the loss of each anchor, which has a gradient, and the logit of
        its positive minus the largest logit of its negatives, which has none.
    """

    @custom_gradient
    def compare(anchors, embeddings):
        def compare_with(weights):
            def by_symmetry():
                found = compare_all(anchors, temperature, decoupled, weights)
                return *found, ops.zeros_like(embeddings)

            def in_chunks():
                given = anchors, embeddings, offset, temperature, chunk_size, decoupled
                return _compare_chunks(*given, weights)

            return by_symmetry() if symmetric else in_chunks()

        losses, margins, *gradients = compare_with(ops.ones_like(anchors[:, 0]))

        def gradient(*args, upstream=None):
            weights = (args[0] if upstream is None else upstream)[0]
            # A mean weights all anchors equally, so the gradients computed with the losses apply.
            of_mean = tuple(weights[0] * one for one in gradients)
            if equal_weights:
                return of_mean
            return ops.cond(
                ops.all(weights == weights[0]),
                lambda: of_mean,
                lambda: tuple(compare_with(weights)[2:]),
            )

        return ops.stack([losses, margins]), gradient

    return compare(anchors, embeddings)


def _compare_chunks(anchors, embeddings, offset, temperature, chunk_size, decoupled, weights):
    """Return losses and margins (2n,), and the gradients of the weighted sum of the losses.

    The logits of an anchor with itself and with its positive are masked; the latter is added
    separately. With `p` the softmax, an anchor `z` of weight `w` with the positive `y` adds, in
    units of `w / temperature`,

    - `sum_k p(k) * z_k - (1 - p(y)) * y` to the gradient of `z`, where k runs over the negatives;
    - `p(k) * z` to the gradient of each `z_k`, and `-(1 - p(y)) * z` to that of `y`, which is an
      anchor itself.

    Decoupled, the softmax is over the negatives alone, and `p(y)` is 0.
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
        top = hardest if decoupled else ops.maximum(hardest, positive)
        exponentials = ops.exp(logits - ops.expand_dims(top, 1))  # (chunk_size, 2N)
        negatives = ops.sum(exponentials, axis=1)
        total = negatives if decoupled else negatives + ops.exp(positive - top)
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
    fitting = (GPU_CHUNK_LOGITS if for_gpu() else CHUNK_LOGITS) // embeddings
    if isinstance(embeddings, int):
        return max(MIN_CHUNK, fitting)
    return ops.maximum(MIN_CHUNK, fitting)
