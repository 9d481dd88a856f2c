"""What makes PyTorch wait for a GPU: values that the host reads or copies one by one."""

import functools
import types
from typing import Any

import keras

from keras_simclr.keras_internals.layers import replaced
from keras_simclr.keras_internals.optimizing import inner_optimizer


def version_of(tensor: Any) -> int:
    """Return a number that changes whenever a PyTorch tensor is written to."""
    return tensor._version


def scalars_made_on_device():
    """Return a context in which Keras on PyTorch makes scalars by a kernel: a copy would wait."""
    from keras.src.backend.torch import core

    return replaced(core, "torch", _torch_with_such_scalars())


@functools.cache  # so that `torch.compile` sees the same module in every context
def _torch_with_such_scalars():
    import torch

    def as_tensor(value, dtype=None, device=None):
        if isinstance(value, (bool, int, float)):
            return torch.full((), value, dtype=dtype, device=device)
        return torch.as_tensor(value, dtype=dtype, device=device)

    module = types.ModuleType("torch")
    vars(module).update(vars(torch), as_tensor=as_tensor, __getattr__=lambda n: getattr(torch, n))
    return module


def scheduled_on_host(optimizer, step):
    """Return a context in which a learning rate schedule is computed on the CPU.

    Args:
        optimizer: Keras optimizer.
        step: Function that returns the number of the step, an integer.
    """

    def rate():
        with keras.device("cpu"):
            value = float(inner_optimizer(optimizer)._learning_rate(step()))
        return keras.ops.convert_to_tensor(value, "float32")

    return _rate_from(optimizer, rate)


def rate_given(optimizer, rate):
    """Return a context in which an optimizer has the learning rate in the tensor `rate`."""
    return _rate_from(optimizer, lambda: rate)


def _rate_from(optimizer, function):
    return replaced(inner_optimizer(optimizer), "_get_current_learning_rate", function)
