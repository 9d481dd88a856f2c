"""Many devices on PyTorch: `torchrun`, a process for each device."""

import atexit
import contextlib
import os

import keras
import numpy as np
import torch
from torch import distributed

from keras_simclr.distribution.batch_norm import synchronized

if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # before any layer has weights


def start():
    """Join the processes that `torchrun` started, unless that is done."""
    if distributed.is_initialized() or int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(distributed.destroy_process_group)


def scope():
    """Return a function that gives a context in which the process group holds."""
    return contextlib.nullcontext


def blocks(count=None):
    """Return the number of devices among which a program cuts its pictures."""
    return 1


def replicas():
    """Return the number of programs."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def replica():
    """Return the number of this program."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def devices():
    """Return the number of devices."""
    return replicas()


def per_device(function, *tensors):
    """Apply `function` to the rows of each device; it gives a tensor with rows to match."""
    return function(*tensors)


def gather(tensor):
    """Return the rows of all devices. Its gradient is the sum over all."""
    if replicas() == 1:
        return tensor
    return _Gather.apply(tensor)


def first_row(tensor):
    """Return where the rows of this device begin in what `gather` gives."""
    return replica() * len(tensor)


def average(tensor):
    """Return the mean over all programs, without a gradient."""
    if replicas() == 1:
        return tensor
    total = tensor.detach().clone()
    distributed.all_reduce(total)
    return total / replicas()


def loss_shares():
    """Return by what Keras divides the loss of a program."""
    return 1


def local():
    """Let devices not matter, for what is computed on one of them."""
    return contextlib.nullcontext()


def feed_part():
    """Return the number of this process, and of all: each is fed its part of every batch."""
    return replica(), replicas()


def process():
    """Return the number of this process."""
    return replica()


def is_writer():
    """Tell whether this process is the one that writes files."""
    return replica() == 0


def saves():
    """Tell whether this process must save a model too when the writer does: none must."""
    return is_writer()


def of_processes(number):
    """Return the number that each process has, in their order."""
    return gather(keras.ops.convert_to_tensor([number], "int64")).tolist()


def wait():
    """Wait until all processes are here."""
    if replicas() > 1:
        distributed.barrier()


def average_logs(logs):
    """Return the mean over all processes of each number."""
    if replicas() == 1 or not logs:
        return logs
    values = keras.ops.convert_to_tensor(np.array(list(logs.values()), "float32"))
    return dict(zip(logs, average(values).tolist(), strict=True))


@contextlib.contextmanager
def training(model):
    """Begin with the weights of the first process, average gradients, synchronise statistics."""
    if replicas() == 1:
        yield
        return
    for variable in model.variables:
        distributed.broadcast(variable.value.data, 0)
    hooks = [
        variable.value.register_post_accumulate_grad_hook(_average_gradient)
        for variable in model.trainable_variables
    ]
    try:
        with synchronized(model, gather):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def running(model):
    """Do nothing: a process runs a model by itself."""
    return contextlib.nullcontext()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(replicas())]
        distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, of_all):
        of_all = of_all.clone(memory_format=torch.contiguous_format)  # others may have it too
        distributed.all_reduce(of_all)
        return of_all.chunk(replicas())[replica()]


def _average_gradient(parameter):
    parameter.grad = average(parameter.grad)
