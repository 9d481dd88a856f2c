"""BatchNormalization with statistics over all devices."""

import contextlib
import functools

import keras
from keras import ops

from keras_simclr.keras_internals import batch_norm_moments, flatten_layers


@contextlib.contextmanager
def synchronized(model, all_gather):
    """Let the BatchNormalization layers of a model use the mean and variance over all devices.

    Keras' `synchronized=True` works only on TensorFlow, and loses precision in E(x^2) - E(x)^2.

    Args:
        model: Keras model or layer.
        all_gather: Function that returns the rows of all devices. Each has the same number.
    """
    kind = keras.layers.BatchNormalization
    layers = [layer for layer in flatten_layers(model) if isinstance(layer, kind)]
    with batch_norm_moments(layers, functools.partial(_moments, all_gather)):
        yield


def _moments(all_gather, axes, inputs):
    moments = ops.stack(ops.moments(inputs, axes))
    moments = all_gather(ops.expand_dims(moments, 0))  # (devices, 2, channels)
    means, variances = moments[:, 0], moments[:, 1]
    mean = ops.mean(means, axis=0)
    between = ops.mean(ops.square(means - mean), axis=0)
    return mean, ops.mean(variances, axis=0) + between
