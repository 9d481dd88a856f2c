"""Layers in faster forms, for training on PyTorch, and on JAX on a CPU."""

import contextlib

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.keras_internals import (
    convolutions_without_copies,
    flatten_layers,
    layer_calls,
)
from keras_simclr.ops.convolutions import convolve, has_slow_gradient
from keras_simclr.ops.forms import for_gpu


@contextlib.contextmanager
def fast_layers(model):
    """Let the layers of a model train in faster forms of the same arithmetic, in a context.

    On PyTorch, Keras normalizes in elementary operations, which take longer and keep three times
    the activations for the gradient, and copies the inputs of convolutions. Here
    BatchNormalization uses PyTorch's fused kernel, except on several devices, which share their
    statistics, and nothing is copied. On JAX on a CPU, the gradients of the kernels of convolutions
    are matrix products. On TensorFlow nothing changes.

    Args:
        model: Keras model or layer.
    """
    if keras.backend.backend() == "jax" and not for_gpu():
        convolutions = [layer for layer in flatten_layers(model) if has_slow_gradient(layer)]
        with layer_calls(convolutions, convolve, "convolution_op"):
            yield
        return
    if keras.backend.backend() != "torch":
        yield
        return
    kind, one_device = keras.layers.BatchNormalization, distribution.num_replicas() == 1
    layers = [layer for layer in flatten_layers(model) if type(layer) is kind and one_device]
    with layer_calls(layers, _normalize), convolutions_without_copies():
        yield


def _normalize(layer, call, inputs, training=None, mask=None):
    """Return what `layer` does with `inputs`; `call` is Keras' own way."""
    special = layer.synchronized or layer.renorm or layer.variable_dtype != "float32"
    plain = mask is None and not special
    if not (training and layer.trainable and plain):
        return call(inputs, training=training, mask=mask)
    import torch

    channels_first = inputs.movedim(layer.axis, 1)
    gamma, beta = (None if v is None else v.value for v in (layer.gamma, layer.beta))
    scaled, mean, inverse = torch.native_batch_norm(
        channels_first, gamma, beta, None, None, True, 0.0, layer.epsilon
    )
    with torch.no_grad():
        variance = inverse.pow(-2) - layer.epsilon
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return ops.cast(scaled.movedim(1, layer.axis), layer.compute_dtype)
