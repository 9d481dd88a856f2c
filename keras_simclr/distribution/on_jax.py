"""Several devices on JAX: `keras.distribution.DataParallel`, with one program for all."""

import contextlib
import contextvars

import jax
import keras
from jax.sharding import NamedSharding, PartitionSpec

_within = contextvars.ContextVar("axis of the devices, within per_device", default=None)
_is_local = contextvars.ContextVar("whether everything runs on one device", default=False)


def initialize():
    """Do nothing: users call `keras.distribution.initialize` to connect several processes."""


def scope():
    """Return a function that returns the scope of the current distribution."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        if jax.process_count() > 1:
            raise ValueError(
                "Every process would train a separate model. Received: "
                f"{jax.process_count()} processes without a distribution. Call "
                "`keras.distribution.set_distribution(keras.distribution.DataParallel())` first."
            )
        return contextlib.nullcontext
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ValueError(
            "Only `keras.distribution.DataParallel` is supported. Received: "
            f"{type(distribution).__name__}."
        )
    distribution.auto_shard_dataset = False  # each process reads its own shard of a batch
    return distribution.scope


def has_accelerator():
    """Return whether there is a GPU or TPU."""
    return jax.default_backend() != "cpu"


def devices_per_program(count=None):
    """Return the number of devices that `count` rows are sharded over: all, or 1 if uneven."""
    distribution = keras.distribution.distribution()
    if distribution is None or _is_local.get():
        return 1
    mesh, axis = _mesh(distribution)
    return 1 if count is not None and count % mesh.shape[axis] else mesh.shape[axis]


def num_replicas():
    """Return the number of replicas, each of which runs a program."""
    return 1


def replica_id():
    """Return the index of this replica."""
    return 0


def num_devices():
    """Return the number of devices."""
    return devices_per_program()


def per_device(function, *tensors):
    """Apply `function` to the rows of each device; it must preserve the number of rows."""
    traced = any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
    if not traced or devices_per_program(len(tensors[0])) == 1:
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


def all_gather(tensor):
    """Return the rows of all devices; outside `per_device`, `tensor` already has them."""
    axis = _within.get()
    return tensor if axis is None else jax.lax.all_gather(tensor, axis, tiled=True)


def shard_offset(tensor):
    """Return the index of the first row of this device in the result of `all_gather`."""
    axis = _within.get()
    return 0 if axis is None else jax.lax.axis_index(axis) * len(tensor)


def all_reduce_mean(tensor):
    """Return the mean over all replicas."""
    return tensor


def loss_divisor():
    """Return the number by which Keras divides the loss of a replica."""
    return 1


@contextlib.contextmanager
def single_device():
    """Return a context in which everything runs on a single device."""
    token = _is_local.set(True)
    try:
        yield
    finally:
        _is_local.reset(token)


def data_shard():
    """Return (shard_id, num_shards): which shard of every batch this process reads."""
    return jax.process_index(), jax.process_count()


def process_id():
    """Return the index of this process."""
    return jax.process_index()


def is_main_process():
    """Return whether this process is the one that writes files."""
    return jax.process_index() == 0


def joins_saving():
    """Return whether this process takes part when the main process saves a model: all must."""
    return True


def process_all_gather(number):
    """Return the numbers of all processes, in the order of the processes."""
    if jax.process_count() == 1:
        return [number]
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(jax.numpy.int32(number)).tolist()


def barrier():
    """Wait until all processes have reached this point."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("keras_simclr")


def all_reduce_logs(logs):
    """Return the logs, which already are those of all devices."""
    return logs


@contextlib.contextmanager
def training(model):
    """Return a context for training, after checking that the model is on all devices."""
    distribution = keras.distribution.distribution()
    if distribution is not None:
        mesh, _ = _mesh(distribution)
        for variable in model.variables:
            if variable.value.sharding.device_set != set(mesh.devices.flat):
                raise ValueError(
                    "The model was created before the distribution, and is only on one device. "
                    f"Received: {variable.path}. Call `keras.distribution.set_distribution` "
                    "first, then create the model."
                )
    yield


@contextlib.contextmanager
def inference(model):
    """Return all predictions of a model in every process, not only the process's own."""
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
