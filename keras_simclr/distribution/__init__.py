"""One model on many devices, by the means of each backend; each file has the same functions.

A program is what runs in one process or, on TensorFlow, in one replica. On JAX it drives all
devices and sees whole batches, cut into blocks, one for each device; on TensorFlow and PyTorch
there is a program for each device, which sees its part of a batch.
"""

import importlib

import keras

from keras_simclr.distribution.agreement import agree as agree
from keras_simclr.distribution.agreement import agreed as agreed
from keras_simclr.distribution.callbacks import AverageLogs as AverageLogs
from keras_simclr.distribution.callbacks import written_once as written_once
from keras_simclr.distribution.checks import check_strategy as check_strategy
from keras_simclr.distribution.scope import in_own_scope as in_own_scope

_of_backend = importlib.import_module(f"keras_simclr.distribution.on_{keras.backend.backend()}")

start = _of_backend.start
scope = _of_backend.scope
blocks = _of_backend.blocks
replicas = _of_backend.replicas
replica = _of_backend.replica
devices = _of_backend.devices
per_device = _of_backend.per_device
gather = _of_backend.gather
first_row = _of_backend.first_row
average = _of_backend.average
loss_shares = _of_backend.loss_shares
local = _of_backend.local
feed_part = _of_backend.feed_part
process = _of_backend.process
is_writer = _of_backend.is_writer
saves = _of_backend.saves
of_processes = _of_backend.of_processes
wait = _of_backend.wait
average_logs = _of_backend.average_logs
training = _of_backend.training
running = _of_backend.running
