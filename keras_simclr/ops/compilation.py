"""Compilation of functions."""

import contextlib
import contextvars

import keras

_is_uncompiled: contextvars.ContextVar[bool] = contextvars.ContextVar("uncompiled", default=False)


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


@contextlib.contextmanager
def uncompiled():
    """Run loops, compiled functions and recorded steps operation by operation, in a context.

    TensorFlow's compiled functions stay compiled.
    """
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "jax":
            import jax

            stack.enter_context(jax.disable_jit())
        token = _is_uncompiled.set(True)
        stack.callback(_is_uncompiled.reset, token)
        yield


def is_uncompiled() -> bool:
    """Return whether this runs in `uncompiled`."""
    return _is_uncompiled.get()


def causes(error):
    """Yield an error, what led to it, and so on: compilers raise errors of their own."""
    while error is not None:
        yield error
        error = error.__context__


def is_compiling(*tensors):
    """Return whether `tensors` are symbolic, in a function that is being compiled."""
    if keras.backend.backend() == "jax":
        import jax

        return any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    return False
