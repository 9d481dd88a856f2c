"""Many devices on JAX: `keras.distribution.DataParallel`, one program that drives all of them."""

import contextlib
import contextvars

import jax
import keras
from jax.sharding import NamedSharding, PartitionSpec

_within = contextvars.ContextVar("axis of the devices, on one of them", default=None)
_is_local = contextvars.ContextVar("whether devices do not matter", default=False)


def start():
    """Do nothing: `keras.distribution.initialize` starts several processes."""


def scope():
    """Return a function that gives a context in which the present distribution holds."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        if jax.process_count() > 1:
            raise ValueError(
                "Every process would train a model of its own. Received: "
                f"{jax.process_count()} processes without a distribution. Call "
                "`keras.distribution.set_distribution(keras.distribution.DataParallel())` first."
            )
        return contextlib.nullcontext
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ValueError(
            "Only `keras.distribution.DataParallel` is supported. Received: "
            f"{type(distribution).__name__}."
        )
    distribution.auto_shard_dataset = False  # each process is fed its part of a batch
    return distribution.scope


def blocks(count=None):
    """Return the number of devices among which a program cuts `count` pictures, or any number."""
    distribution = keras.distribution.distribution()
    if distribution is None or _is_local.get():
        return 1
    mesh, axis = _mesh(distribution)
    return 1 if count is not None and count % mesh.shape[axis] else mesh.shape[axis]


def replicas():
    """Return the number of programs."""
    return 1


def replica():
    """Return the number of this program."""
    return 0


def devices():
    """Return the number of devices."""
    return blocks()


def per_device(function, *tensors):
    """Apply `function` to the rows of each device; it gives a tensor with rows to match."""
    traced = any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
    if not traced or blocks(len(tensors[0])) == 1:
        return function(*tensors)
    mesh, axis = _mesh(keras.distribution.distribution())

    def on_device(*tensors):
        token = _within.set(axis)
        try:
            return function(*tensors)
        finally:
            _within.reset(token)

    rows = PartitionSpec(axis)
    mapped = jax.shard_map(on_device, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return mapped(*tensors)


def gather(tensor):
    """Return the rows of all devices, within `per_device`; elsewhere all rows are there."""
    axis = _within.get()
    return tensor if axis is None else jax.lax.all_gather(tensor, axis, tiled=True)


def first_row(tensor):
    """Return where the rows of this device begin in what `gather` gives."""
    axis = _within.get()
    return 0 if axis is None else jax.lax.axis_index(axis) * len(tensor)


def average(tensor):
    """Return the mean over all programs."""
    return tensor


def loss_shares():
    """Return by what Keras divides the loss of a program."""
    return 1


@contextlib.contextmanager
def local():
    """Let devices not matter, for what is computed on one of them."""
    token = _is_local.set(True)
    try:
        yield
    finally:
        _is_local.reset(token)


def feed_part():
    """Return the number of this process, and of all: each is fed its part of every batch."""
    return jax.process_index(), jax.process_count()


def process():
    """Return the number of this process."""
    return jax.process_index()


def is_writer():
    """Tell whether this process is the one that writes files."""
    return jax.process_index() == 0


def saves():
    """Tell whether this process must save a model too when the writer does: all must."""
    return True


def of_processes(number):
    """Return the number that each process has, in their order."""
    if jax.process_count() == 1:
        return [number]
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(jax.numpy.int32(number)).tolist()


def wait():
    """Wait until all processes are here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("keras_simclr")


def average_logs(logs):
    """Return logs as they are, which is over all devices."""
    return logs


@contextlib.contextmanager
def training(model):
    """Check that the model is where the devices are."""
    distribution = keras.distribution.distribution()
    if distribution is not None:
        mesh, _ = _mesh(distribution)
        for variable in model.variables:
            if variable.value.sharding.device_set != set(mesh.devices.flat):
                raise ValueError(
                    "The model was made before the distribution, and is on one device only. "
                    f"Received: {variable.path}. Call `keras.distribution.set_distribution` "
                    "first, then make the model."
                )
    yield


@contextlib.contextmanager
def running(model):
    """Let every process have all rows that a model predicts, of which Keras reads its own only."""
    if jax.process_count() == 1:
        yield
        return
    model.predict_step = _replicated(model.predict_step)
    try:
        yield
    finally:
        del model.predict_step


def _replicated(step):
    mesh, _ = _mesh(keras.distribution.distribution())
    everywhere = NamedSharding(mesh, PartitionSpec())

    def replicated(state, data):
        outputs, state = step(state, data)
        return jax.lax.with_sharding_constraint(outputs, everywhere), state

    return replicated


def _mesh(distribution):
    return distribution.device_mesh.backend_mesh, distribution.batch_dim_name
