"""Chunks of images, of the size and in the loop that is fastest on each backend and device."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import optree
from keras import ops

from keras_simclr import distribution
from keras_simclr.ops.compilation import is_compiling
from keras_simclr.ops.forms import for_gpu
from keras_simclr.ops.fusion import CannotCompileError, can_fuse, fuse, stop_fusing
from keras_simclr.ops.orders import IMAGES_PER_ORDER, chunk_size_in_shards

# Values of a chunk that fit into the cache of a CPU; on PyTorch, each operation costs a call, too.
CACHED_VALUES = 2**21 if keras.backend.backend() == "torch" else 2**18
# Values of a chunk on a GPU on PyTorch, whose operations are or are not compiled into few kernels.
FUSED_VALUES, GPU_VALUES = 2**27, 2**26
LARGE_BLOCK = 31 * 2**20  # bytes, just below the 32 MB up to which the C library adapts


def map_chunks(function: Callable, images: Any, parameters: Any, values_per_image: int) -> Any:
    """Apply `function` to chunks of images that are small enough to stay in the cache.

    On a GPU, the whole batch is a single chunk, on PyTorch unless memory would be short.

    Args:
        function: Takes a chunk of the images, of shape (n, ...), and their parameters, and
            returns a float32 tensor of shape (n, ...).
        images: Tensor of shape (N, ...).
        parameters: A structure of tensors of shape (N, ...) and None.
        values_per_image: Number of values in the largest array that `function` creates per image.
            It determines the chunk size. Where `apply_in_order` needs it, all images of a chunk
            have the same order. The last chunk may be smaller, or padded with zeros, whose
            results are dropped.

    Returns:
        The results, of shape (N, ...).
    """
    images, parameters = _as_tensors(images, parameters)
    of_chunk, tensors = _with_flat_arguments(function, images, parameters)
    if keras.backend.backend() == "torch":
        if can_fuse(tensors):
            try:
                return _map_fused(function, images, parameters, values_per_image)
            except CannotCompileError as error:
                results = _map_on_torch(of_chunk, tensors, values_per_image)
                stop_fusing(error)
                return results
        return _map_on_torch(of_chunk, tensors, values_per_image)
    map_ = _at_once if for_gpu() else functools.partial(_map_in_graph, values=values_per_image)
    return distribution.per_device(lambda *tensors: map_(of_chunk, tensors), *tensors)


def map_images(function: Callable, images: Any, parameters: Any) -> Any:
    """Apply `function` to one image at a time, whose size may be unknown; on a GPU to all at once.

    Args:
        function: As in `map_chunks`.
        images: Tensor of shape (N, ...).
        parameters: As in `map_chunks`.

    Returns:
        The results, of shape (N, ...).
    """
    if for_gpu():
        return function(images, parameters)
    of_chunk, tensors = _with_flat_arguments(function, *_as_tensors(images, parameters))

    def of_image(tensors):
        return of_chunk(*(ops.expand_dims(tensor, 0) for tensor in tensors))[0]

    return ops.map(of_image, tuple(tensors))


def _as_tensors(images, parameters):
    """Convert images and the leaves of their parameters to tensors."""
    both: Any = images, parameters
    return optree.tree_map(ops.convert_to_tensor, both)


def _with_flat_arguments(function, images, parameters):
    """Return `function` as one of the tensors in a list, and the list."""
    # `keras.tree` takes a hundred times as long on PyTorch.
    leaves, structure = optree.tree_flatten(parameters, none_is_leaf=True)
    present = [leaf for leaf in leaves if leaf is not None]

    def with_flat_arguments(images, *present):
        remaining = iter(present)
        of_images = [None if leaf is None else next(remaining) for leaf in leaves]
        return function(images, optree.tree_unflatten(structure, of_images))

    return with_flat_arguments, [images, *present]


def _at_once(function, tensors):
    """Apply `function` to the whole batch; a TensorFlow graph compiles it with XLA."""
    if keras.backend.backend() == "jax" or not is_compiling(*tensors):
        return function(*tensors)
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)(*tensors)


def _map_fused(function, images, parameters, values_per_image):
    """Apply `function` to few chunks, all but the last of one size, as each size is compiled.

    It would also be compiled for each of the strides, and with and without gradients.
    """
    import torch

    count = len(images)
    chunks = -(-count * values_per_image // FUSED_VALUES)
    size = -(-count // chunks)
    with torch.no_grad():
        results = [
            fuse(function, *_contiguous_rows((images, parameters), slice(start, start + size)))
            for start in range(0, count, size)
        ]
        return results[0] if len(results) == 1 else torch.cat(results)


def _contiguous_rows(tensors, rows):
    return optree.tree_map(lambda tensor: tensor[rows].contiguous(), tensors)


def _map_on_torch(function, tensors, values_per_image):
    import torch

    count, device = len(tensors[0]), tensors[0].device
    if not for_gpu():
        # Freeing a block of this size raises the threshold above which the C library returns
        # memory to the system, so that later steps reuse pages instead of requesting fresh ones.
        torch.empty(LARGE_BLOCK, dtype=torch.uint8)
        # For small images calls dominate the time, so fewer and larger chunks are faster.
        many = IMAGES_PER_ORDER**2
        fits = values_per_image * many <= CACHED_VALUES
        chunk_size = many if fits else _fitting_chunk_size(values_per_image)
    else:
        chunk_size = max(GPU_VALUES // values_per_image, 1)
    results = None
    for start in range(0, count, chunk_size):
        chunk = slice(start, start + chunk_size)
        result = function(*(tensor[chunk] for tensor in tensors))
        if results is None:
            results = torch.empty((count, *result.shape[1:]), device=device)
        results[chunk] = result
    return results


def _map_in_graph(function, tensors, values):
    chunk_size = chunk_size_in_shards(_fitting_chunk_size(values))
    count = ops.shape(tensors[0])[0]
    if not is_compiling(*tensors):
        chunks = [slice(start, start + chunk_size) for start in range(0, count, chunk_size)]
        return ops.concatenate([function(*(tensor[c] for tensor in tensors)) for c in chunks])
    map_ = _map_on_jax if keras.backend.backend() == "jax" else _map_on_tensorflow
    results = map_(function, in_chunks(tensors, chunk_size))
    return ops.reshape(results, (-1, *results.shape[2:]))[:count]


def _fitting_chunk_size(values_per_image):
    """Return how many images fit into the cache, as a divisor of `IMAGES_PER_ORDER`."""
    chunk_size = IMAGES_PER_ORDER
    while chunk_size > 1 and chunk_size * values_per_image > CACHED_VALUES:
        chunk_size //= 2
    return chunk_size


def _map_on_jax(function, chunks):
    import jax

    return jax.lax.map(lambda chunk: function(*chunk), chunks)


def _map_on_tensorflow(function, chunks):
    """Compile `function` with XLA, and process two chunks at a time.

    Booleans are passed as numbers, as a `cond` is slow if its condition is an argument.
    """
    import tensorflow as tf

    dtypes = [tensor.dtype for tensor in chunks]

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def compiled(*chunk):
        return function(*map(tf.cast, chunk, dtypes))

    numbers = [
        tf.cast(tensor, tf.float32) if tensor.dtype == tf.bool else tensor for tensor in chunks
    ]
    return tf.map_fn(
        lambda chunk: compiled(*chunk),
        numbers,
        fn_output_signature=tf.float32,
        parallel_iterations=2,
    )


def in_chunks(tensors, chunk_size):
    """Return tensors of shape (chunks, chunk_size, ...), padded with zeros."""
    missing = -ops.shape(tensors[0])[0] % chunk_size
    if not isinstance(missing, int) or missing:
        tensors = [
            ops.pad(tensor, [(0, missing)] + [(0, 0)] * (len(tensor.shape) - 1))
            for tensor in tensors
        ]
    return tuple(ops.reshape(tensor, (-1, chunk_size, *tensor.shape[1:])) for tensor in tensors)
