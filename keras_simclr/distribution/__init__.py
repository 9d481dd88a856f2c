"""Training on several devices, with the tools of each backend.

`on_tensorflow.py`, `on_jax.py` and `on_torch.py` define the same functions. A program is the code
run by one process or, on TensorFlow, by one replica. On JAX, one program drives all devices and
sees global batches, which are sharded over the devices; on TensorFlow and PyTorch, every device
runs a separate program, which sees only its shard of each batch.
"""

import importlib

import keras

from keras_simclr.distribution.agreement import broadcast_number as broadcast_number
from keras_simclr.distribution.agreement import failing_together as failing_together
from keras_simclr.distribution.agreement import num_processes as num_processes
from keras_simclr.distribution.agreement import same_on_all_processes as same_on_all_processes
from keras_simclr.distribution.checks import check_strategy as check_strategy
from keras_simclr.distribution.scope import run_in_scope as run_in_scope

_backend = importlib.import_module(f"keras_simclr.distribution.on_{keras.backend.backend()}")

initialize = _backend.initialize
scope = _backend.scope
has_accelerator = _backend.has_accelerator
devices_per_program = _backend.devices_per_program
num_replicas = _backend.num_replicas
replica_id = _backend.replica_id
num_devices = _backend.num_devices
per_device = _backend.per_device
all_gather = _backend.all_gather
shard_offset = _backend.shard_offset
all_reduce_mean = _backend.all_reduce_mean
loss_divisor = _backend.loss_divisor
single_device = _backend.single_device
data_shard = _backend.data_shard
process_id = _backend.process_id
is_main_process = _backend.is_main_process
joins_saving = _backend.joins_saving
process_all_gather = _backend.process_all_gather
barrier = _backend.barrier
all_reduce_logs = _backend.all_reduce_logs
training = _backend.training
inference = _backend.inference
