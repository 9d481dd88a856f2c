"""Values that the host knows: on PyTorch, it would wait for a GPU to read them."""

import contextlib
from typing import Any

import keras

from keras_simclr.keras_internals import (
    has_schedule,
    scalars_made_on_device,
    scheduled_on_host,
    version_of,
)
from keras_simclr.ops.forms import for_gpu

KNOWN = "keras_simclr_known"  # attribute of a tensor: its version, and its value at that time


def host_decides() -> bool:
    """Return whether the host launches each kernel by itself, and must not wait for the GPU."""
    return keras.backend.backend() == "torch" and for_gpu()


def on_host() -> Any:
    """Return a context in which tensors are created on the host if it decides."""
    return keras.device("cpu") if host_decides() else contextlib.nullcontext()


def known_value(variable: Any) -> Any:
    """Return the value of a variable, on the host if it decides, and read only when it changed."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    if not host_decides():
        return value
    version, known = getattr(value, KNOWN, (None, None))
    if version != version_of(value):
        known = value.detach().clone().cpu()
        _note(value, known)
    return known


@contextlib.contextmanager
def counting(variable: Any) -> Any:
    """Keep known, in a context, the value of a variable that is only ever incremented by 1."""
    if not host_decides():
        yield
        return
    value, known = variable.value, known_value(variable)
    before = version_of(value)
    yield
    _note(value, known + (version_of(value) != before))


@contextlib.contextmanager
def without_waiting(optimizer: Any) -> Any:
    """Let the host start all steps of a training without waiting for the GPU, in a context.

    Args:
        optimizer: Keras optimizer of the training.
    """
    if not host_decides():
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(scalars_made_on_device())
        if has_schedule(optimizer):

            def step():
                return int(known_value(optimizer.iterations))

            stack.enter_context(scheduled_on_host(optimizer, step))
        yield


def _note(value, known):
    setattr(value, KNOWN, (version_of(value), known))
