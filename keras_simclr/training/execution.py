"""Fast forms, backend by backend, of the same computation on many pictures."""

import math

import keras
import numpy as np
from keras import ops

GROUP = 16  # pictures in a row that share one draw where an own draw for each would cost much
IN_CACHE = 2**20  # values, at most, of a group of pictures that is worked on together
AT_ONCE = 2**24  # the like on a GPU
RECYCLED = 31 * 2**20  # bytes


def map_groups(function, images, parameters, size):
    """Apply `function` to groups of pictures in turn, so that what it works on stays in the cache.

    Args:
        function: Takes some pictures and their parameters, gives as many pictures.
        images: Tensor of shape (N, ...).
        parameters: A structure of tensors of shape (N, ...) and None.
        size: Values in a picture, by which the groups are chosen. All pictures of a group belong
            to the same `GROUP`, unless `choose` can do without. The last group may be smaller, or
            filled up with zeros whose results are thrown away.

    Returns:
        The results, of shape (N, ...).
    """
    leaves = keras.tree.flatten(parameters)
    given = [images, *(leaf for leaf in leaves if leaf is not None)]
    tensors = [ops.convert_to_tensor(tensor) for tensor in given]

    def of_group(*group):
        given = iter(group)
        pictures = next(given)
        drawn = [None if leaf is None else next(given) for leaf in leaves]
        return function(pictures, keras.tree.pack_sequence_as(parameters, drawn))

    map_ = _map_on_torch if keras.backend.backend() == "torch" else _map_filled
    return map_(of_group, tensors, size)


def choose(index, branches, planes, parameters):
    """Apply to each picture the branch that its index names.

    Args:
        index: Integers of shape (N,), the same for all pictures of a `GROUP`.
        branches: Functions of (planes, parameters), which give planes.
        planes: Tensor of shape (N, ...).
        parameters: A structure of tensors of shape (N, ...).

    Returns:
        The results, of shape (N, ...).
    """
    if keras.backend.backend() != "torch":
        return ops.switch(index[0], branches, planes, parameters)
    named = ops.convert_to_numpy(index)
    if (named == named[0]).all():
        return branches[named[0]](planes, parameters)
    results = ops.zeros_like(planes)
    for number in np.unique(named):
        chosen = ops.convert_to_tensor(np.flatnonzero(named == number))
        of_chosen = keras.tree.map_structure(lambda leaf, i=chosen: leaf[i], parameters)
        results[chosen] = branches[number](planes[chosen], of_chosen)
    return results


def where_chosen(chosen, function, otherwise, planes, parameters):
    """Apply `function` to the chosen pictures and `otherwise` to the others, without waste.

    Args:
        chosen: Booleans of shape (N,).
        function: Takes some of the planes and their parameters.
        otherwise: Takes planes; gives results of the same shape as `function`.
        planes: Tensor of shape (N, ...).
        parameters: Tensor of shape (N, ...).

    Returns:
        The results, of shape (N, ...).
    """
    if keras.backend.backend() == "torch":
        results = otherwise(planes)
        some = ops.convert_to_tensor(np.flatnonzero(ops.convert_to_numpy(chosen)))
        if len(some):
            results[some] = function(planes[some], parameters[some])
        return results

    def of_picture(tensors):
        chosen, planes, parameter = (ops.expand_dims(tensor, 0) for tensor in tensors)
        return ops.cond(chosen[0], lambda: function(planes, parameter), lambda: otherwise(planes))[
            0
        ]

    return ops.map(of_picture, (chosen, planes, parameters))


def clip(values, low, high=math.inf):
    """Return `ops.clip` between two plain numbers, of which it makes slow tensors on PyTorch."""
    if keras.backend.backend() == "torch":
        return values.clamp(low, high)
    return ops.maximum(values, low) if high == math.inf else ops.clip(values, low, high)


def banded(first, weights, size):
    """Return matrices with a few weights in a row, and zeros elsewhere.

    Args:
        first: Column of the first weight of each row, whole numbers of shape (N, rows).
        weights: Tensor of shape (N, rows, taps); zero where it falls out of the matrix.
        size: Number of columns.

    Returns:
        Tensor of shape (N, rows, size).
    """
    if keras.backend.backend() == "torch":
        columns = ops.cast(ops.expand_dims(first, 2), "int64") + ops.arange(weights.shape[2])
        zeros = ops.zeros((*weights.shape[:2], size))
        return zeros.scatter_add_(2, columns.clamp(0, size - 1), weights)
    tap = ops.arange(size, dtype="float32") - ops.expand_dims(first, 2)  # (N, rows, size)
    return sum(ops.where(tap == k, weights[:, :, k : k + 1], 0.0) for k in range(weights.shape[2]))


def _map_on_torch(function, tensors, size):
    import torch

    count, device = len(tensors[0]), tensors[0].device
    if device.type == "cpu":
        # A block of this size, once freed, lets the C library keep freed memory for what comes
        # next, instead of asking the system for fresh pages at every step of the arithmetic.
        torch.empty(RECYCLED, dtype=torch.uint8)
        few_calls = size * GROUP**2 <= IN_CACHE  # small pictures: it is calls that cost
        group = GROUP**2 if few_calls else _fitting(size)
    else:
        group = max(AT_ONCE // size, 1)
    results = None
    for start in range(0, count, group):
        part = slice(start, start + group)
        result = function(*(tensor[part] for tensor in tensors))
        if results is None:
            results = torch.empty((count, *result.shape[1:]), device=device)
        results[part] = result
    return results


def _map_filled(function, tensors, size):
    group = _fitting(size)
    count = ops.shape(tensors[0])[0]
    missing = -count % group
    known = isinstance(missing, int)
    if not known or missing:
        tensors = [_filled(tensor, missing) for tensor in tensors]
    grouped = [ops.reshape(tensor, (-1, group, *tensor.shape[1:])) for tensor in tensors]
    map_ = _map_on_jax if keras.backend.backend() == "jax" else _map_on_tensorflow
    results = map_(function, grouped)
    results = ops.reshape(results, (-1, *results.shape[2:]))
    return results[:count] if not known or missing else results


def _fitting(size):
    """Return the largest part of a `GROUP` of which all groups of this size consist."""
    group = GROUP
    while group > 1 and group * size > IN_CACHE:
        group //= 2
    return group


def _filled(tensor, missing):
    return ops.pad(tensor, [(0, missing)] + [(0, 0)] * (len(tensor.shape) - 1))


def _map_on_jax(function, tensors):
    import jax

    return jax.lax.map(lambda group: function(*group), tensors)


def _map_on_tensorflow(function, tensors):
    """Compile what happens to a group with XLA, and work on two groups at a time."""
    import tensorflow as tf

    if not tf.executing_eagerly():
        function = tf.function(function, jit_compile=True, autograph=False)
    return tf.map_fn(
        lambda group: function(*group),
        tensors,
        fn_output_signature=tf.float32,
        parallel_iterations=None if tf.executing_eagerly() else 2,
    )
