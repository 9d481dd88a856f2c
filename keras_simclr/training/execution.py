"""Fast forms, backend by backend, of the same computation on many pictures."""

import math

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution

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
            to the same `GROUP`, unless `in_turn` can do without. The last group may be smaller, or
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

    if keras.backend.backend() == "torch":
        return _map_on_torch(of_group, tensors, size)
    return distribution.per_device(lambda *given: _map_filled(of_group, given, size), *tensors)


def in_turn(order, steps, planes, parameters):
    """Apply steps to each picture in its order.

    Args:
        order: Numbers of the steps, integers of shape (N, places), alike for all of a `GROUP`.
        steps: Functions of (planes, parameters), which give planes.
        planes: Tensor of shape (N, ...), pictures of one `GROUP`; on PyTorch, of any number.
        parameters: A structure of tensors of shape (N, ...).

    Returns:
        The results, of shape (N, ...).
    """
    places = order.shape[1]
    if _compiling(planes, order):

        def step(place, planes):
            return ops.switch(order[0, place], steps, planes, parameters)

        return ops.fori_loop(0, places, step, planes)
    for numbers in ops.convert_to_numpy(order).T:
        if (numbers == numbers[0]).all():
            planes = steps[numbers[0]](planes, parameters)
            continue
        results = ops.zeros_like(planes)
        for number in np.unique(numbers):
            some = ops.convert_to_tensor(np.flatnonzero(numbers == number))
            of_some = keras.tree.map_structure(lambda leaf, some=some: leaf[some], parameters)
            results[some] = steps[number](planes[some], of_some)
        planes = results
    return planes


def where_chosen(chosen, function, otherwise, planes, parameters):
    """Apply `function` to the chosen pictures and `otherwise` to the others, without waste.

    Args:
        chosen: Booleans of shape (N,).
        function: Takes some of the planes and their parameters.
        otherwise: Takes planes; gives new results of the same shape as `function`.
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
    if not _compiling(planes, chosen):
        chosen = ops.reshape(chosen, (-1, 1, 1, 1))
        return ops.where(chosen, function(planes, parameters), otherwise(planes))

    def of_picture(tensors):
        chosen, *given = (ops.expand_dims(tensor, 0) for tensor in tensors)
        return ops.cond(chosen[0], lambda: function(*given), lambda: otherwise(given[0]))[0]

    return ops.map(of_picture, (chosen, planes, parameters))


def scan_blocks(function, carry, tensors, size):
    """Apply `function` to blocks of rows in turn, handing on what it carries.

    Args:
        function: Takes the carry and a block of each tensor, gives the next carry and a tensor
            with as many rows as the block.
        carry: Tensor, whose shape stays as it is.
        tensors: Tuple of tensors of shape (N, ...).
        size: Rows of a block. The last block may be smaller, or filled up with zeros whose
            results are thrown away.

    Returns:
        The last carry, and the results, of shape (N, ...).
    """
    count = ops.shape(tensors[0])[0]
    if isinstance(count, int) and isinstance(size, int) and count <= size:
        return function(carry, tensors)
    if keras.backend.backend() == "jax":
        return _scan_on_jax(function, carry, tensors, size)
    if keras.backend.backend() == "tensorflow":
        return _scan_on_tensorflow(function, carry, tensors, size)
    parts = []
    for start in range(0, count, size):
        carry, part = function(carry, tuple(t[start : start + size] for t in tensors))
        parts.append(part)
    return carry, ops.concatenate(parts)


def put_in_rows(matrix, columns, value):
    """Set entries of each row, at the places that vectors of column numbers say, to `value`.

    On PyTorch `matrix` itself is changed.
    """
    if keras.backend.backend() == "torch":
        row = ops.arange(len(matrix))
        for column in columns:
            matrix[row, column] = value
        return matrix
    place = ops.expand_dims(ops.arange(ops.shape(matrix)[1]), 0)
    for column in columns:
        matrix = ops.where(place == ops.expand_dims(column, 1), value, matrix)
    return matrix


def clip(values, low, high=math.inf):
    """Return `ops.clip` between two plain numbers, of which it makes slow tensors on PyTorch."""
    if keras.backend.backend() == "torch":
        return values.clamp(low, high)
    return ops.maximum(values, low) if high == math.inf else ops.clip(values, low, high)


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
    if not _compiling(*tensors):
        parts = [slice(start, start + group) for start in range(0, count, group)]
        return ops.concatenate([function(*(tensor[part] for tensor in tensors)) for part in parts])
    map_ = _map_on_jax if keras.backend.backend() == "jax" else _map_on_tensorflow
    results = map_(function, _in_blocks(tensors, group))
    return ops.reshape(results, (-1, *results.shape[2:]))[:count]


def _compiling(*tensors):
    """Tell whether this is done once, to be compiled, and not at every call."""
    if keras.backend.backend() == "jax":
        import jax

        return any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    return False


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

    compiled = tf.function(function, jit_compile=True, autograph=False)
    return tf.map_fn(
        lambda group: compiled(*group),
        tensors,
        fn_output_signature=tf.float32,
        parallel_iterations=2,
    )


def _in_blocks(tensors, size):
    """Return tensors of shape (blocks, size, ...), filled up with zeros."""
    missing = -ops.shape(tensors[0])[0] % size
    if not isinstance(missing, int) or missing:
        tensors = [_filled(tensor, missing) for tensor in tensors]
    return tuple(ops.reshape(tensor, (-1, size, *tensor.shape[1:])) for tensor in tensors)


def _scan_on_jax(function, carry, tensors, size):
    import jax

    carry, results = jax.lax.scan(function, carry, _in_blocks(tensors, size))
    return carry, ops.reshape(results, (-1, *results.shape[2:]))[: len(tensors[0])]


def _scan_on_tensorflow(function, carry, tensors, size):
    """Do what `keras.ops.scan` cannot: results of another shape than the carry's."""
    import tensorflow as tf

    count = tf.shape(tensors[0])[0]
    blocks = _in_blocks(tensors, tf.minimum(size, count))
    number = tf.shape(blocks[0])[0]
    shape = []

    def step(index, carry, results):
        carry, result = function(carry, tuple(block[index] for block in blocks))
        shape[:] = result.shape[1:]
        return index + 1, carry, results.write(index, result)

    results = tf.TensorArray(carry.dtype, number)
    _, carry, results = tf.while_loop(
        lambda index, *_: index < number, step, (0, carry, results), parallel_iterations=1
    )
    return carry, tf.reshape(results.stack(), (-1, *shape))[:count]
