"""The views of a batch, as a pure function of the seeds of the layers and of the step."""

import contextlib
import inspect
import warnings

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution
from keras_simclr.keras_internals import SEED_STATE, flatten_layers
from keras_simclr.ops.compilation import compile_function
from keras_simclr.ops.known_values import known_value, on_host
from keras_simclr.ops.orders import shards

STRIDE = 64  # draws from a generator that are reserved for one step
STEPS = 2**24  # steps after which the draws of a generator repeat
EVALUATION = STRIDE * STEPS  # evaluation draws from the other half of a generator's stream
SPREAD = 1_000_003  # keeps the seeds of two shards far apart


def draw_views(
    augmenter,
    images,
    step,
    *,
    num_views=1,
    evaluation=False,
    shard_id=0,
    num_shards=1,
    num_devices=1,
    parameters=None,
):
    """Create the views of a step.

    For this call, the random state of every layer is replaced by a function of its seed and of
    `step`. So no random state has to be saved: the same step of the same model has the same
    views, whether the run was interrupted or not.

    The images may be one of several equal shards of a batch. Augmenters of this package draw for
    the global batch, so that views do not depend on how it is sharded; other layers use
    a different seed in each shard.

    Args:
        augmenter: Any Keras layer from images to images.
        images: Tensor of shape (N, H, W, C).
        step: Non-negative integer or scalar tensor.
        num_views: Views of each image. Defaults to 1.
        evaluation: Whether to use draws that no training step uses. Defaults to False.
        shard_id: Index of the shard, an integer or scalar tensor.
        num_shards: Number of shards of the batch, or of the images of each device.
        num_devices: Number of devices whose images are concatenated; those of each device are
            sharded. Defaults to 1.
        parameters: What `sample_views` returned for the whole batch, after which nothing else may
            be drawn. Defaults to drawing it.

    Returns:
        The views, of shape (num_views * N, h, w, C): for each device all first views, then all
        second views.
    """
    count, *size = ops.shape(images)
    is_sharded = not isinstance(num_shards, int) or num_shards * num_devices > 1
    accepted = inspect.signature(augmenter.call).parameters
    arguments = {"num_devices": num_devices} if "num_devices" in accepted else {}
    is_drawn = parameters is not None
    if is_drawn:
        arguments["parameters"] = parameters
    elif takes_parameters(augmenter):
        parameters = sample_views(
            augmenter, num_views * count * num_shards, size, step, evaluation=evaluation
        )
        if is_sharded:
            parameters = keras.tree.map_structure(
                lambda rows: (
                    None
                    if rows is None
                    else take_view_shard(rows, shard_id, num_shards, num_devices, count)
                ),
                parameters,
            )
        arguments["parameters"] = parameters
    if num_views > 1:
        images = ops.reshape(images, (num_devices, -1, *size))
        images = ops.concatenate([images] * num_views, axis=1)
        images = ops.reshape(images, (-1, *size))
    whole = shards(count // num_devices) if is_sharded else contextlib.nullcontext()
    nothing = contextlib.nullcontext()
    with whole, nothing if is_drawn else _states_at(augmenter, step, evaluation, shard_id):
        return augmenter(images, training=True, **arguments)


def sample_views(augmenter, count, size, step, *, evaluation=False):
    """Return the parameters of `count` views of a step, from the `sample` of an augmenter."""
    with _states_at(augmenter, step, evaluation):
        return augmenter.sample(count, *size[:2])


def take_view_shard(rows, shard_id, num_shards, num_devices, count):
    """Return the rows of one of the equal shards of the images of each device.

    Args:
        rows: Tensor with rows for all images, or for all first and then all second views.
        shard_id: Index of the shard, an integer or scalar tensor.
        num_shards: Number of shards of the images of each device.
        num_devices: Number of devices whose images are concatenated.
        count: Images in the shard, over all devices.

    Returns:
        For each device the rows of its images, or of their first and then their second views.
    """
    shape = ops.shape(rows)[1:]
    rows = ops.reshape(rows, (-1, num_devices, num_shards, count // num_devices, *shape))
    return ops.reshape(ops.swapaxes(rows[:, :, shard_id], 0, 1), (-1, *shape))


def view_function(augmenter):
    """Return a compiled function: (images, step) -> one view of each image, a NumPy array.

    The images are this process's shard of a batch.
    """
    shard_id, num_shards = distribution.data_shard()

    def views(images, step):
        with distribution.single_device():
            return draw_views(augmenter, images, step, shard_id=shard_id, num_shards=num_shards)

    compiled = views if uncompilable_layers(augmenter) else compile_function(views)
    return lambda images, step: ops.convert_to_numpy(
        compiled(ops.convert_to_tensor(images), ops.convert_to_tensor(np.int32(step % STEPS)))
    )


def takes_parameters(layer):
    """Return whether a layer accepts the `parameters` that it would draw in `sample`."""
    return hasattr(layer, "sample") and "parameters" in inspect.signature(layer.call).parameters


def seed_states(layer):
    """Return the variables that hold the random states of a layer and of the layers inside it."""
    return [variable for variable in layer.variables if variable.name == SEED_STATE]


def uncompilable_layers(augmenter):
    """Return the names of the layers that neither JAX nor XLA can compile."""
    return [layer.name for layer in flatten_layers(augmenter) if not layer.supports_jit]


def warn_if_uncompilable(augmenter):
    """Warn if a layer of the augmenter cannot be compiled, which makes training slow."""
    names = uncompilable_layers(augmenter)
    if names:
        warnings.warn(
            f"The layers {names} of the augmenter cannot be compiled, so on JAX, and on TensorFlow "
            "with XLA, the whole step runs uncompiled, several times slower. "
            "`keras_simclr.layers` has transforms that can be compiled.",
            stacklevel=3,
        )


def _states_at(augmenter, step, evaluation, shard_id=0):
    """Return a scope in which the random states are those of a step; nothing else changes."""
    values = [(variable, variable.value) for variable in augmenter.variables]
    scope = keras.StatelessScope(state_mapping=values)
    with on_host():
        for variable in seed_states(augmenter):
            scope.add_update((variable, _state_at(variable, step, evaluation, shard_id)))
    return scope


def _state_at(variable, step, evaluation, shard_id):
    position = STRIDE * (ops.cast(step, "int32") % STEPS) + EVALUATION * evaluation
    seed = ops.bitwise_xor(known_value(variable)[0], ops.cast(SPREAD * shard_id, variable.dtype))
    return ops.stack([seed, ops.cast(position, variable.dtype)])
