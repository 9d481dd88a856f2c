"""Several devices on TensorFlow: a `tf.distribute` strategy, with a replica on each device."""

import contextlib

import tensorflow as tf

from keras_simclr.distribution.batch_norm import synchronized
from keras_simclr.keras_internals import (
    is_multi_worker,
    without_all_reduce,
    without_symbolic_build,
)


def initialize():
    """Do nothing: strategies initialize themselves."""


def scope():
    """Return a function that returns the scope of the current strategy."""
    if not tf.distribute.has_strategy():
        return contextlib.nullcontext
    return tf.distribute.get_strategy().scope


def has_accelerator():
    """Return whether there is a GPU or TPU."""
    return bool(tf.config.get_visible_devices("GPU") or tf.config.list_physical_devices("TPU"))


def devices_per_program(count=None):
    """Return the number of devices driven by one program."""
    return 1


def num_replicas():
    """Return the number of replicas, each of which runs a program."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica_id():
    """Return the index of this replica, a tensor if there are several."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group if num_replicas() > 1 else 0


def num_devices():
    """Return the number of devices."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def per_device(function, *tensors):
    """Apply `function` to the rows of each device; it must preserve the number of rows."""
    return function(*tensors)


def all_gather(tensor):
    """Return the rows of all devices; gradients are summed over the devices."""
    if num_replicas() == 1:
        return tensor
    of_all = tf.distribute.get_replica_context().all_gather(tensor, axis=0)
    return tf.ensure_shape(of_all, (None, *tensor.shape[1:]))


def shard_offset(tensor):
    """Return the index of the first row of this device in the result of `all_gather`."""
    return replica_id() * tf.shape(tensor)[0]


def all_reduce_mean(tensor):
    """Return the mean over all replicas."""
    if num_replicas() == 1:
        return tensor
    return tf.distribute.get_replica_context().all_reduce("MEAN", tensor)


def loss_divisor():
    """Return the number by which Keras divides the loss of a replica."""
    return num_devices()


def single_device():
    """Return a context in which everything runs on a single device."""
    return contextlib.nullcontext()


def data_shard():
    """Return (0, 1): TensorFlow shards the batches itself."""
    return 0, 1


def process_id():
    """Return the index of this process."""
    return tf.distribute.get_strategy().cluster_resolver.task_id if _several_workers() else 0


def is_main_process():
    """Return whether this process is the one that writes files."""
    return tf.distribute.get_strategy().extended.should_checkpoint


def joins_saving():
    """Return whether this process takes part when the main process saves a model: all must."""
    return True


def process_all_gather(number):
    """Return the numbers of all processes, in the order of the processes."""
    if not _several_workers():
        return [number]
    return _gathered(tf.constant([number], tf.int64)).numpy().tolist()


def barrier():
    """Wait until all processes have reached this point."""
    process_all_gather(0)


def all_reduce_logs(logs):
    """Return the logs, which already are those of all devices."""
    return logs


@contextlib.contextmanager
def training(model):
    """Synchronize BatchNormalization statistics over the devices, except in micro-batches.

    TensorFlow cannot communicate between replicas in a loop.
    """
    if num_devices() == 1:
        with without_all_reduce(model.optimizer):
            yield
        return
    for variable in (*model.variables, *model.optimizer.variables):
        if not isinstance(variable.value, tf.distribute.DistributedValues):
            raise ValueError(
                "Model and optimizer must be created within `strategy.scope()`, to be on all "
                f"devices. Received: {variable.path} on one device only."
            )
    model.train_function = None  # it may have been traced before
    in_loop = getattr(model, "micro_batch_size", None)
    with inference(model), contextlib.nullcontext() if in_loop else synchronized(model, all_gather):
        yield


@contextlib.contextmanager
def inference(model):
    """Let a model train and evaluate on several workers.

    There, Keras averages the results of a step along their first axis, which a scalar lacks, and
    cannot build a model from a distributed batch.
    """
    if not _several_workers() or "train_step" in vars(model):
        yield
        return
    model.train_step = _with_axis(model.train_step)
    model.test_step = _with_axis(model.test_step)
    try:
        with without_symbolic_build(model):
            yield
    finally:
        del model.train_step, model.test_step


def _with_axis(step):
    return lambda data: {name: tf.reshape(value, (1,)) for name, value in step(data).items()}


def _several_workers():
    return is_multi_worker(tf.distribute.get_strategy())


@tf.function
def _gathered(row):
    strategy = tf.distribute.get_strategy()
    return strategy.gather(strategy.run(lambda: tf.identity(row)), axis=0)
