"""Compilation of functions."""

import contextlib

import keras


def compile_function(function):
    """Return `function` compiled by the backend; PyTorch runs it eagerly.

    Args:
        function: Function of tensors that returns tensors. Their shapes may differ between calls.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)
    return function


def uncompiled():
    """Return a context in which JAX runs loops and compiled functions step by step."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.disable_jit()
    return contextlib.nullcontext()


def is_compiling(*tensors):
    """Return whether `tensors` are symbolic, in a function that is being compiled."""
    if keras.backend.backend() == "jax":
        import jax

        return any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    return False
