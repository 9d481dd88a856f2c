"""Functions with a gradient of their own."""

import functools

import keras

from keras_simclr.keras_internals import record_gradient


def custom_gradient(function):
    """Return `function` with the gradient that it returns, as `keras.ops.custom_gradient` does.

    `tf.custom_gradient` registers the gradient forever, and with it the graph of the step: each
    `fit` would add tens of megabytes. This one is only known to the `tf.GradientTape`.

    Args:
        function: Function of tensors that returns a tensor or a tuple of tensors, and the function
            that computes their gradients.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.custom_gradient(function)
    return functools.partial(record_gradient, function)
