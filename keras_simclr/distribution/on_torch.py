"""Several devices on PyTorch: `torchrun`, with one process per device."""

import atexit
import contextlib
import os

import keras
import numpy as np
import torch
from torch import distributed

from keras_simclr.distribution.batch_norm import synchronized
from keras_simclr.keras_internals import own_loader_seeds

if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # before any layer creates weights


def initialize():
    """Join the process group of `torchrun`, unless already initialized."""
    if distributed.is_initialized() or int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    atexit.register(distributed.destroy_process_group)


def scope():
    """Return a function that returns a context, which leaves PyTorch's generator alone."""
    return own_loader_seeds


def has_accelerator():
    """Return whether there is a GPU or TPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def devices_per_program(count=None):
    """Return the number of devices driven by one program."""
    return 1


def num_replicas():
    """Return the number of replicas, each of which runs a program."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def replica_id():
    """Return the index of this replica."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def num_devices():
    """Return the number of devices."""
    return num_replicas()


def per_device(function, *tensors):
    """Apply `function` to the rows of each device; it must preserve the number of rows."""
    return function(*tensors)


def all_gather(tensor):
    """Return the rows of all devices; gradients are summed over the devices."""
    if num_replicas() == 1:
        return tensor
    return _Gather.apply(tensor)


def shard_offset(tensor):
    """Return the index of the first row of this device in the result of `all_gather`."""
    return replica_id() * len(tensor)


def all_reduce_mean(tensor):
    """Return the mean over all replicas, without a gradient."""
    if num_replicas() == 1:
        return tensor
    total = tensor.detach().clone()
    distributed.all_reduce(total)
    return total / num_replicas()


def loss_divisor():
    """Return the number by which Keras divides the loss of a replica."""
    return 1


def single_device():
    """Return a context in which everything runs on a single device."""
    return contextlib.nullcontext()


def data_shard():
    """Return (shard_id, num_shards): which shard of every batch this process reads."""
    return replica_id(), num_replicas()


def process_id():
    """Return the index of this process."""
    return replica_id()


def is_main_process():
    """Return whether this process is the one that writes files."""
    return replica_id() == 0


def joins_saving():
    """Return whether this process takes part when a model is saved: only the main one does."""
    return is_main_process()


def process_all_gather(number):
    """Return the numbers of all processes, in the order of the processes."""
    return all_gather(keras.ops.convert_to_tensor([number], "int64")).tolist()


def barrier():
    """Wait until all processes have reached this point."""
    if num_replicas() > 1:
        distributed.barrier()


def all_reduce_logs(logs):
    """Return the mean of each value over all processes."""
    if num_replicas() == 1 or not logs:
        return logs
    values = keras.ops.convert_to_tensor(np.array(list(logs.values()), "float32"))
    return dict(zip(logs, all_reduce_mean(values).tolist(), strict=True))


@contextlib.contextmanager
def training(model):
    """Broadcast the first process's weights, average gradients, synchronize BatchNormalization."""
    if num_replicas() == 1:
        yield
        return
    for variable in model.variables:
        distributed.broadcast(variable.value.data, 0)
    hooks = [
        variable.value.register_post_accumulate_grad_hook(_average_gradient)
        for variable in model.trainable_variables
    ]
    try:
        with synchronized(model, all_gather):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def inference(model):
    """Do nothing: each process runs the model independently."""
    return contextlib.nullcontext()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(num_replicas())]
        distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, of_all):
        of_all = of_all.clone(memory_format=torch.contiguous_format)  # others may use it as well
        distributed.all_reduce(of_all)
        return of_all.chunk(num_replicas())[replica_id()]


def _average_gradient(parameter):
    parameter.grad = all_reduce_mean(parameter.grad)
