"""Many devices on TensorFlow: strategies of `tf.distribute`, a replica on each device."""

import contextlib

import tensorflow as tf

from keras_simclr.distribution.batch_norm import synchronized


def start():
    """Do nothing: a strategy starts by itself."""


def scope():
    """Return a function that gives a context in which the present strategy holds."""
    if not tf.distribute.has_strategy():
        return contextlib.nullcontext
    return tf.distribute.get_strategy().scope


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
    of_all = tf.distribute.get_replica_context().all_gather(tensor, axis=0)
    return tf.ensure_shape(of_all, (None, *tensor.shape[1:]))


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


def process():
    """Return the number of this process."""
    return tf.distribute.get_strategy().cluster_resolver.task_id if _several_workers() else 0


def is_writer():
    """Tell whether this process is the one that writes files."""
    return tf.distribute.get_strategy().extended.should_checkpoint


def saves():
    """Tell whether this process must save a model too when the writer does: all must."""
    return True


def of_processes(number):
    """Return the number that each process has, in their order."""
    if not _several_workers():
        return [number]
    return _gathered(tf.constant([number], tf.int64)).numpy().tolist()


def wait():
    """Wait until all processes are here."""
    of_processes(0)


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
    with running(model), contextlib.nullcontext() if in_loop else synchronized(model, gather):
        yield


@contextlib.contextmanager
def running(model):
    """Let a model fit and evaluate over several workers.

    There Keras averages what a step returns along its first axis, which a number lacks, and
    cannot build a model from a batch that is on all workers.
    """
    if not _several_workers() or "train_step" in vars(model):
        yield
        return
    changes = {
        "train_step": _with_axis(model.train_step),
        "test_step": _with_axis(model.test_step),
        "_maybe_symbolic_build": lambda **batch: None,
    }
    for name, function in changes.items():
        setattr(model, name, function)
    try:
        yield
    finally:
        for name in changes:
            delattr(model, name)


def _with_axis(step):
    return lambda data: {name: tf.reshape(value, (1,)) for name, value in step(data).items()}


def _several_workers():
    strategy = tf.distribute.get_strategy()
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.extended._in_multi_worker_mode()


@tf.function
def _gathered(row):
    strategy = tf.distribute.get_strategy()
    return strategy.gather(strategy.run(lambda: tf.identity(row)), axis=0)
