"""Many devices on TensorFlow: strategies of `tf.distribute`, a replica on each device."""

import contextlib

import tensorflow as tf

from keras_simclr.distribution.batch_norm import synchronized


def start():
    """Do nothing: a strategy starts by itself."""


def scope():
    """Return a function that gives a context in which the present strategy holds."""
    return (
        tf.distribute.get_strategy().scope
        if tf.distribute.has_strategy()
        else (contextlib.nullcontext)
    )


def blocks(count=None):
    """Return the number of devices among which a program cuts its pictures."""
    return 1


def replicas():
    """Return the number of programs."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica():
    """Return the number of this program, a tensor."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group if replicas() > 1 else 0


def devices():
    """Return the number of devices."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def per_device(function, *tensors):
    """Apply `function` to the rows of each device; it gives a tensor with rows to match."""
    return function(*tensors)


def gather(tensor):
    """Return the rows of all devices. Its gradient is the sum over all."""
    if replicas() == 1:
        return tensor
    return tf.distribute.get_replica_context().all_gather(tensor, axis=0)


def first_row(tensor):
    """Return where the rows of this device begin in what `gather` gives."""
    return replica() * tf.shape(tensor)[0]


def average(tensor):
    """Return the mean over all programs."""
    if replicas() == 1:
        return tensor
    return tf.distribute.get_replica_context().all_reduce("MEAN", tensor)


def loss_shares():
    """Return by what Keras divides the loss of a program."""
    return devices()


def local():
    """Let devices not matter, for what is computed on one of them."""
    return contextlib.nullcontext()


def feed_part():
    """Return the number of this process, and of all: TensorFlow cuts the batches itself."""
    return 0, 1


def is_writer():
    """Tell whether this process is the one that writes files."""
    return tf.distribute.get_strategy().extended.should_checkpoint


def agreed(number):
    """Return the number that all processes have."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return number
    raise ValueError(
        "With several workers the model needs a `seed`, the same in all. Received: seed=None."
    )


def agree(number):
    """Tell whether all processes have the same number."""
    return True


def average_logs(logs):
    """Return logs as they are, which is over all devices."""
    return logs


@contextlib.contextmanager
def training(model):
    """Let BatchNormalization take its statistics from all devices.

    That waits for the other replicas, which TensorFlow cannot do in a loop, so not with
    micro-batches.
    """
    if devices() == 1:
        yield
        return
    for variable in (*model.variables, *model.optimizer.variables):
        if not isinstance(variable.value, tf.distribute.DistributedValues):
            raise ValueError(
                "Model and optimizer must be made within `strategy.scope()`, to be on all "
                f"devices. Received: {variable.path} on one device only."
            )
    model.train_function = None  # traced before, it would not know
    in_loop = getattr(model, "micro_batch_size", None)
    with contextlib.nullcontext() if in_loop else synchronized(model, gather):
        yield
