"""Convolutions on JAX on a CPU, where XLA takes far longer for gradients of kernels than needed."""

from typing import Any

import keras
from keras import ops


def has_slow_gradient(layer: Any) -> bool:
    """Return whether a layer is a convolution whose gradient can be written as products."""
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
    rows = ops.reshape(upstream, (-1, upstream.shape[3]))  # (N h w, filters)

    def of_row(i):
        columns = [
            inputs[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]
            for j in range(size[1])
        ]
        seen = ops.reshape(ops.concatenate(columns, axis=3), (rows.shape[0], -1))
        return jax.lax.dot_general(
            seen, rows, (((0,), (0,)), ((), ())), preferred_element_type="float32"
        )

    gradient = ops.stack([of_row(i) for i in range(size[0])])
    return ops.cast(ops.reshape(gradient, kernel.shape), kernel.dtype)
