"""BatchNormalization with the statistics of all devices."""

import contextlib
import functools

import keras
from keras import ops


@contextlib.contextmanager
def synchronized(model, gather):
    """Let the layers of a model take mean and variance over all devices, in training.

    Keras' own `synchronized=True` is for TensorFlow only, and loses digits in E(x^2) - E(x)^2.

    Args:
        model: Whose BatchNormalization layers are meant.
        gather: Function that gives the rows of all devices, which are equally many.
    """
    norms = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in norms:
        layer._moments = functools.partial(_moments, gather, layer._reduction_axes)
    try:
        yield
    finally:
        for layer in norms:
            del layer._moments


def _moments(gather, axes, inputs, mask=None):
    of_device = ops.stack(ops.moments(inputs, axes))
    of_all = gather(ops.expand_dims(of_device, 0))  # (devices, 2, channels)
    means, variances = of_all[:, 0], of_all[:, 1]
    mean = ops.mean(means, axis=0)
    between = ops.mean(ops.square(means - mean), axis=0)
    return mean, ops.mean(variances, axis=0) + between
