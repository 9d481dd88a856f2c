"""Optimizers and gradients."""

import keras
from keras.src import api_export

from keras_simclr.keras_internals.layers import replaced

TORCH_OPTIMIZERS = "keras.src.backend.torch.optimizers."


def inner_optimizer(optimizer):
    """Return the optimizer that a `LossScaleOptimizer` wraps; any other is returned as it is."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def step_counter(optimizer):
    """Return the variable that counts all steps, also those that only accumulate gradients."""
    return inner_optimizer(optimizer)._iterations


def has_schedule(optimizer):
    """Return whether the learning rate of an optimizer is a schedule."""
    rate = inner_optimizer(optimizer)._learning_rate
    return isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)


def name_publicly(optimizer):
    """Let an optimizer be saved under its public name, which every backend has.

    On PyTorch, `keras.optimizers.SGD(0.1)` is of a subclass, whose own name only PyTorch knows.
    """
    kind = type(inner_optimizer(optimizer))
    names = filter(None, map(api_export.get_name_from_symbol, kind.__mro__))
    if kind.__module__.startswith(TORCH_OPTIMIZERS):
        api_export.REGISTERED_OBJS_TO_NAMES.setdefault(kind, next(names))


def save_for_every_backend(model):
    """Let a model be saved with what it was compiled with, under names that every backend has.

    Keras would save what `jit_compile="auto"` was on this backend: False on PyTorch, True on JAX.
    """
    name_publicly(model.optimizer)
    model._compile_config.config["jit_compile"] = "auto"


def uses_weight_decay(optimizer, variable):
    """Return whether a variable has not been excluded by `exclude_from_weight_decay`."""
    return optimizer._use_weight_decay(variable)


def variable_index(optimizer, variable):
    """Return the index of a variable among those that the optimizer was built with."""
    return optimizer._get_variable_index(variable)


def without_all_reduce(optimizer):
    """Return a context in which an optimizer does not sum gradients over TensorFlow's replicas.

    With one replica that changes nothing, but TensorFlow registers the gradient of the sum
    forever, and with it the graph of the step.
    """
    inner = inner_optimizer(optimizer)
    return replaced(inner, "_all_reduce_sum_gradients", list)


def record_gradient(function, *tensors):
    """Return the tensors that `function` returns; a `tf.GradientTape` uses the gradient with them.

    Args:
        function: Function that returns a tensor or a tuple of tensors, and a function from their
            gradients to a sequence of those of the arguments.
        *tensors: Arguments of `function`.
    """
    import tensorflow as tf
    from tensorflow.python.eager import record

    with record.stop_recording():
        found, gradient = function(*tensors)
        results = tf.nest.map_structure(tf.identity, found)
    record.record_operation("CustomGradient", tf.nest.flatten(results), list(tensors), gradient)
    return results
