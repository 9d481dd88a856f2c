"""Steps on PyTorch that a GPU repeats as one CUDA graph."""

import collections
import contextlib
import gc
import warnings
from typing import Any

import keras

from keras_simclr.keras_internals import rate_given, version_of
from keras_simclr.ops.compilation import causes, is_uncompiled
from keras_simclr.ops.known_values import host_decides

EAGER_STEPS = 3  # before a step is recorded, so that the libraries have set up what they need


class RecordedStep:
    """A step that is recorded as a CUDA graph, which the host then launches in one call.

    For a small network, Keras' Python code takes several times longer to start the kernels of
    a step than a GPU takes to run them. After a few steps, one is recorded, and later ones repeat
    its kernels on their own inputs. As on JAX and TensorFlow, the Python code of a step then no
    longer runs. Steps on inputs of other shapes run as usual.

    Args:
        optimizer: Keras optimizer of the step, whose learning rate may be a schedule.
        variables: Variables that the step may change.

    Attributes:
        failed: Whether recording was tried and failed.
    """

    def __init__(self, optimizer: Any, variables: Any):
        self._optimizer = optimizer
        self._variables = variables
        self._layout: Any = None  # of the inputs of the recorded step
        self._eager_steps: collections.Counter = collections.Counter()  # by layout
        self._gave_up = self.failed = False
        self._replay: Any = None

    def __call__(self, function: Any, *arguments: Any) -> Any:
        """Return what `function` returns, a dict of tensors, for nested tensors and None."""
        tensors = keras.tree.flatten(arguments)
        layout = tuple(
            tensor if tensor is None else (tensor.shape, tensor.dtype) for tensor in tensors
        )
        is_ready = self._replay is not None and layout == self._layout
        if is_uncompiled() or not (
            is_ready or (self._is_due(layout) and self._record(function, arguments, tensors))
        ):
            return function(*arguments)
        return self._repeat(tensors)

    def _is_due(self, layout):
        if self._replay is not None or self._gave_up:
            return False
        self._eager_steps[layout] += 1
        if self._eager_steps[layout] <= EAGER_STEPS:
            return False
        self._layout, self._gave_up = layout, not has_room()
        return not self._gave_up

    def _record(self, function, arguments, tensors):
        self._inputs = [None if tensor is None else tensor.clone() for tensor in tensors]
        inputs = keras.tree.pack_sequence_as(arguments, self._inputs)
        self._rate = keras.ops.copy(keras.ops.convert_to_tensor(self._optimizer.learning_rate))
        versions = self._versions()
        failure = None
        try:
            with rate_given(self._optimizer, self._rate):
                self._results, self._replay = record(lambda: function(*inputs))
        except RuntimeError as error:
            failure = _first_cause(error), _is_out_of_memory(error)
        if failure is not None:
            self._give_up(*failure)
            return False
        pairs = zip(self._variables, versions, self._versions(), strict=True)
        self._changed = [variable.value for variable, before, now in pairs if now != before]
        return True

    def close(self) -> None:
        """Free the memory of the graph, which has the gradients of the variables too."""
        for variable in self._variables:
            variable.value.grad = None
        self._replay, self._results, self._inputs = None, {}, []
        release_memory()

    def _give_up(self, failure, out_of_memory):
        self._gave_up = self.failed = True
        self.close()
        if out_of_memory:
            return
        warnings.warn(
            "The steps of this training cannot be repeated as a CUDA graph, so they run one kernel "
            f"at a time, which is slower for small networks: {failure}\nUsually a layer, the loss "
            "or the optimizer reads a value from the GPU or copies one to it. To leave graphs out, "
            "call `compile(run_eagerly=True)`.",
            stacklevel=2,
        )

    def _versions(self):
        return [version_of(variable.value) for variable in self._variables]

    def _increment_versions(self):
        """Note that the variables change, which PyTorch does not see when kernels are repeated."""
        from torch.autograd.graph import increment_version

        for value in self._changed:
            increment_version(value)

    def _repeat(self, tensors):
        for own, given in zip(self._inputs, tensors, strict=True):
            if own is not None:
                own.copy_(given)
        # First: a schedule would read the step from the GPU once its version has changed.
        self._rate.copy_(keras.ops.convert_to_tensor(self._optimizer.learning_rate))
        self._increment_versions()
        self._replay()
        return {name: value.clone() for name, value in self._results.items()}


def _first_cause(error):
    """Return the text of what led to an error: the end of a failed recording raises another."""
    *_, first = causes(error)
    return str(first)


def _is_out_of_memory(error):
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def can_record() -> bool:
    """Return whether steps run on a GPU that repeats CUDA graphs."""
    return host_decides() and keras.ops.zeros(()).is_cuda


def has_room() -> bool:
    """Return whether steps have so far taken less than half of the memory that they may take.

    A graph keeps its memory for itself, and batches of another size or validation may need as much
    again. Steps that take more keep a GPU busy anyway.
    """
    import torch

    if not torch.cuda.is_available():
        return True
    with _device_of_keras():
        available = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
        return torch.cuda.max_memory_allocated() <= 0.45 * available


def release_memory() -> None:
    """Free what nothing refers to, on the GPU too."""
    import torch

    gc.collect()
    with _device_of_keras():
        torch.cuda.empty_cache()


def record(function: Any) -> Any:
    """Record the kernels that `function` launches, without running them.

    Returns:
        What `function` returns, and a function that runs the kernels, which then fills it.
    """
    import torch

    release_memory()  # a gradient function of an earlier step that still lives would break it
    with _device_of_keras():
        graph, usual = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            # Another thread may copy the next batch to the GPU in the meantime.
            mode = "thread_local"
            with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode=mode):
                results = function()
        finally:
            torch.cuda.set_stream(usual)  # PyTorch does not, after an error
    return results, graph.replay


def _device_of_keras():
    """Return a context in which PyTorch's current GPU is that of Keras, which may differ."""
    import torch

    device = keras.ops.zeros(()).device
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
