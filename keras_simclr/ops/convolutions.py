"""Convolutions on JAX on a CPU, where XLA takes far longer for gradients of kernels than needed."""

import itertools
import math
from typing import Any

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.ops.chunking import in_chunks

MAX_IMAGES = 16  # of a chunk
MAX_VALUES = 2**20  # under the kernel, in all places of the images of a chunk


def has_slow_gradient(layer: Any) -> bool:
    """Return whether a layer is a convolution whose gradient can be written as products.

    On several devices it stays with XLA, which knows how to split it.
    """
    if distribution.num_devices() > 1:
        return False
    if type(layer) is not keras.layers.Conv2D or layer.padding not in ("same", "valid"):
        return False
    plain = layer.groups == 1 and tuple(layer.dilation_rate) == (1, 1)
    return plain and layer.data_format == "channels_last"


def convolve(layer: Any, convolution_op: Any, inputs: Any, kernel: Any) -> Any:
    """Return `convolution_op(inputs, kernel)` of a layer, with matrix products in its gradient."""
    import jax

    def forward(inputs, kernel):
        return convolution_op(inputs, kernel), (inputs, kernel)

    def backward(kept, upstream):
        inputs, kernel = kept
        transposed = jax.linear_transpose(lambda inputs: convolution_op(inputs, kernel), inputs)
        (of_inputs,) = transposed(upstream)
        return of_inputs, _gradient_of_kernel(layer, inputs, kernel, upstream)

    convolution = jax.custom_vjp(convolution_op)
    convolution.defvjp(forward, backward)
    kernel = ops.convert_to_tensor(kernel)
    return convolution(ops.cast(inputs, kernel.dtype), kernel)


def _gradient_of_kernel(layer, inputs, kernel, upstream):
    """Return the sum over all pixels of the products of inputs under the kernel and `upstream`."""
    import jax

    strides, size = tuple(layer.strides), kernel.shape[:2]
    padding = jax.lax.padtype_to_pads(inputs.shape[1:3], size, strides, layer.padding.upper())
    inputs = ops.pad(inputs, [(0, 0), *padding, (0, 0)])
    ends = [(n - 1) * stride + 1 for n, stride in zip(upstream.shape[1:3], strides, strict=True)]

    def add_images(total, chunk):
        inputs, upstream = chunk
        under_kernel = [
            inputs[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]
            for i, j in itertools.product(*map(range, size))
        ]
        rows = ops.reshape(ops.concatenate(under_kernel, axis=3), (-1, len(total)))  # (n h w, ...)
        product = jax.lax.dot_general(
            rows,
            ops.reshape(upstream, (len(rows), -1)),
            (((0,), (0,)), ((), ())),
            preferred_element_type="float32",
        )
        return total + product, None

    # In the cache, products are faster.
    values = math.prod(upstream.shape[1:3]) * math.prod(kernel.shape[:3])
    chunk_size = min(max(MAX_VALUES // values, 1), MAX_IMAGES)
    total = ops.zeros((math.prod(kernel.shape[:3]), kernel.shape[3]), "float32")
    total, _ = jax.lax.scan(add_images, total, in_chunks((inputs, upstream), chunk_size))
    return ops.cast(ops.reshape(total, kernel.shape), kernel.dtype)
