"""Layers in faster forms, on PyTorch, and on a CPU on TensorFlow and JAX."""

import contextlib
import functools

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.keras_internals import (
    convolutions_without_copies,
    flatten_layers,
    intermediates_freed,
    layer_calls,
    structures_freed,
)
from keras_simclr.ops.convolutions import convolve, has_slow_gradient
from keras_simclr.ops.forms import for_gpu


@contextlib.contextmanager
def fast_layers(model):
    """Let the layers of a model compute the same in faster forms, in a context.

    On PyTorch and TensorFlow, Keras normalizes in elementary operations, which take longer and keep
    three times the activations for the gradient. Here BatchNormalization trains with the
    framework's fused kernel, on TensorFlow only on a CPU, and not on several devices, whose
    statistics are synchronized. On PyTorch the inputs of convolutions are not copied, and
    functional models and `keras.tree` forget tensors after their last use. On JAX on a CPU, the
    gradients of the kernels of convolutions are matrix products.

    Args:
        model: Keras model or layer.
    """
    if keras.backend.backend() == "torch":
        with (
            _fused(model, _normalize_on_torch),
            convolutions_without_copies(),
            intermediates_freed(model),
            structures_freed(),
        ):
            yield
    elif for_gpu():
        yield
    elif keras.backend.backend() == "tensorflow":
        with _fused(model, _normalize_on_tensorflow):
            yield
    else:
        convolutions = [layer for layer in flatten_layers(model) if has_slow_gradient(layer)]
        with layer_calls(convolutions, convolve, "convolution_op"):
            yield


def _fused(model, normalize):
    """Let BatchNormalization train with `normalize`, in a context."""
    kind, one_device = keras.layers.BatchNormalization, distribution.num_devices() == 1
    layers = [layer for layer in flatten_layers(model) if type(layer) is kind and one_device]
    return layer_calls(layers, functools.partial(_train, normalize))


def _train(normalize, layer, call, inputs, training=None, mask=None):
    """Return what `layer` does with `inputs`; `call` is Keras' own way."""
    special = layer.synchronized or layer.renorm or layer.variable_dtype != "float32"
    plain = mask is None and not special
    if not (training and layer.trainable and plain):
        return call(inputs, training=training, mask=mask)
    channels_last = ops.moveaxis(inputs, layer.axis, -1)
    outputs, mean, variance = normalize(layer, channels_last)
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return ops.cast(ops.moveaxis(outputs, -1, layer.axis), layer.compute_dtype)


def _normalize_on_torch(layer, inputs):
    """Return normalized inputs (..., C), and the mean and variance of each channel."""
    import torch

    gamma, beta = (None if v is None else v.value for v in (layer.gamma, layer.beta))
    outputs, mean, inverse = torch.native_batch_norm(
        inputs.movedim(-1, 1), gamma, beta, None, None, True, 0.0, layer.epsilon
    )
    with torch.no_grad():
        variance = inverse.pow(-2) - layer.epsilon
    return outputs.movedim(1, -1), mean, variance


def _normalize_on_tensorflow(layer, inputs):
    """Return normalized inputs (..., C), and the mean and variance of each channel."""
    import tensorflow as tf

    shape, channels = tf.shape(inputs), inputs.shape[-1]
    outputs, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(inputs, (-1, 1, 1, channels)),
        scale=tf.ones(channels) if layer.gamma is None else layer.gamma,
        offset=tf.zeros(channels) if layer.beta is None else layer.beta,
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
    )
    count = tf.cast(tf.size(inputs) // channels, "float32")
    return tf.reshape(outputs, shape), mean, unbiased * (count - 1) / count
