"""How many consecutive images of a batch have the same order of steps."""

import contextlib
import contextvars

from keras import ops

IMAGES_PER_ORDER = 16  # consecutive images of a global batch
_shard_size = contextvars.ContextVar("images of each view in a shard", default=None)


@contextlib.contextmanager
def shards(size):
    """Let no chunk cross the shards of a batch, in a context.

    The orders are drawn for the global batch, so in a shard they change where it does not begin
    with a multiple of 16 images.

    Args:
        size: Images of each view in a shard, an integer or, on TensorFlow, a scalar tensor.
    """
    token = _shard_size.set(size)
    try:
        yield
    finally:
        _shard_size.reset(token)


def chunk_size_in_shards(limit):
    """Return the largest chunk size up to `limit` with which no chunk crosses shards and orders.

    Args:
        limit: Power of two of at most `IMAGES_PER_ORDER`.
    """
    size = _shard_size.get()
    if size is None:
        return limit
    if isinstance(size, int):
        return min(size & -size, limit)  # the largest power of two that divides size
    return ops.minimum(ops.bitwise_and(size, -size), limit)
