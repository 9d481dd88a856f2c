"""Functions on PyTorch that a GPU runs as a few kernels, where each operation would be one."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

from keras_simclr.keras_internals import scalars_made_on_device
from keras_simclr.ops.compilation import causes, is_uncompiled
from keras_simclr.ops.forms import for_gpu

VARIANTS = 64  # of shapes and settings that a process compiles; others run one operation at a time
_state = {"failed": False}


class CannotCompileError(Exception):
    """PyTorch cannot compile a function, as it says in `__cause__`."""


def can_fuse(tensors: Sequence) -> bool:
    """Return whether `fuse` may compile functions of tensors on PyTorch.

    That is on a GPU and without a gradient; `compile(run_eagerly=True)` turns it off.
    """
    import torch

    if not (tensors[0].is_cuda and for_gpu()) or is_uncompiled() or _state["failed"]:
        return False
    return not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors)


def fuse(function: Any, *arguments: Any) -> Any:
    """Return `function(*arguments)`, contiguous; `torch.compile` turns it into a few kernels.

    Compiling takes 10 to 20 seconds for arguments of a new shape, and later processes find the
    kernels in PyTorch's cache.

    Args:
        function: Function or method from structures of tensors to a tensor, which changes nothing
            else.
        *arguments: Its arguments.

    Raises:
        CannotCompileError: If compiling fails, as without a C compiler, or the function raises.
    """
    import torch

    try:
        with scalars_made_on_device():  # also outside of `fit`: PyTorch compiles for one of both
            return _compiled()(function, *arguments)
    except Exception as error:  # of many kinds, from the parts of the compiler
        for cause in causes(error):
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
        raise CannotCompileError from error


def stop_fusing(error: CannotCompileError) -> None:
    """Warn that compiling failed, and let `can_fuse` return False from now on."""
    _state["failed"] = True
    warnings.warn(
        "PyTorch cannot compile the views, so they are created one operation at a time, which is "
        f"several times slower: {error.__cause__}\nUsually a C compiler, Python's headers or "
        "Triton are missing.",
        stacklevel=2,
    )


@functools.cache
def _compiled():
    import torch

    torch.compiler.assume_constant_result(for_gpu)  # it reads a context variable
    options: Any = {"dynamic": False, "recompile_limit": VARIANTS}
    return torch.compile(_call, **options)


def _call(function, *arguments):
    return function(*arguments).contiguous()
