"""Fast forms, backend by backend, of the same computation on many pictures."""

import keras
from keras import ops


def map_groups(function, images, parameters, size):
    """Apply `function` to groups of pictures in turn, so that what it works on stays in the cache.

    Args:
        function: Takes up to `size` pictures and their parameters, gives as many pictures.
        images: Tensor of shape (N, ...).
        parameters: A structure of tensors of shape (N, ...) and None.
        size: Pictures in a group; the last group may be smaller, or filled up with zeros whose
            results are thrown away.

    Returns:
        The results, of shape (N, ...).
    """
    leaves = keras.tree.flatten(parameters)
    tensors = [images, *(leaf for leaf in leaves if leaf is not None)]

    def of_group(group):
        given = iter(group)
        pictures = next(given)
        drawn = [None if leaf is None else next(given) for leaf in leaves]
        return function(pictures, keras.tree.pack_sequence_as(parameters, drawn))

    backend = keras.backend.backend()
    if backend == "torch":
        return _loop(of_group, tensors, size)
    return _map_filled(of_group, tensors, size, _MAPS[backend])


def _loop(function, tensors, size):
    count = len(tensors[0])
    groups = [
        function([tensor[start : start + size] for tensor in tensors])
        for start in range(0, count, size)
    ]
    return ops.concatenate(groups)


def _map_filled(function, tensors, size, map_):
    count = ops.shape(tensors[0])[0]
    missing = -count % size
    known = isinstance(missing, int)
    if not known or missing:
        tensors = [_filled(tensor, missing) for tensor in tensors]
    grouped = [ops.reshape(tensor, (-1, size, *tensor.shape[1:])) for tensor in tensors]
    results = map_(function, grouped)
    results = ops.reshape(results, (-1, *results.shape[2:]))
    return results[:count] if not known or missing else results


def _filled(tensor, missing):
    return ops.pad(tensor, [(0, missing)] + [(0, 0)] * (len(tensor.shape) - 1))


def _map_on_jax(function, tensors):
    import jax

    return jax.lax.map(function, tensors)


def _map_on_tensorflow(function, tensors):
    import tensorflow as tf

    parallel = None if tf.executing_eagerly() else 2
    return tf.map_fn(
        function, tensors, fn_output_signature=tf.float32, parallel_iterations=parallel
    )


_MAPS = {"jax": _map_on_jax, "tensorflow": _map_on_tensorflow}
