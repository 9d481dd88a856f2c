"""Functions on PyTorch that a GPU runs as a few kernels, where each operation would be one."""

import functools
import warnings
from typing import Any

from keras_simclr.ops.compilation import is_uncompiled
from keras_simclr.ops.forms import for_gpu

_state = {"failed": False}


def can_fuse(tensor: Any) -> bool:
    """Return whether `fuse` may compile functions of a tensor on PyTorch: only on a GPU.

    `compile(run_eagerly=True)` turns it off.
    """
    return tensor.is_cuda and for_gpu() and not (is_uncompiled() or _state["failed"])


def fuse(function: Any, *arguments: Any) -> Any:
    """Return `function(*arguments)`, contiguous; `torch.compile` turns it into a few kernels.

    Compiling takes 10 to 20 seconds for arguments of new shapes, once per machine, as PyTorch keeps
    the kernels in files. Where it fails, as without a C compiler, the function runs as it is.

    Args:
        function: Function or method from structures of tensors to a tensor, which changes nothing
            else.
        *arguments: Its arguments.
    """
    import torch

    try:
        return _compiled()(function, *arguments)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of many kinds, from the parts of the compiler
        result = _call(function, *arguments)  # explains a mistake of the function better
        _state["failed"] = True
        warnings.warn(
            "PyTorch cannot compile the views, so they are created one operation at a time, which "
            f"is several times slower: {error}\nUsually a C compiler or Triton is missing.",
            stacklevel=2,
        )
        return result


@functools.cache
def _compiled():
    import torch

    torch.compiler.assume_constant_result(for_gpu)  # it reads a context variable
    return torch.compile(_call, dynamic=False)


def _call(function, *arguments):
    return function(*arguments).contiguous()
