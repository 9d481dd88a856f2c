"""Train and test steps on views, wrapped around those of Keras."""

import contextlib
import functools
import warnings
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.data.inspection import images_of
from keras_simclr.keras_internals import calling, images_seen, step_counter
from keras_simclr.layers.views import draw_views, sample_views, take_view_shard
from keras_simclr.ops.compilation import uncompiled
from keras_simclr.ops.cuda_graph import RecordedStep, can_record
from keras_simclr.ops.known_values import counting, known_value, on_host
from keras_simclr.training.micro_batches import embed_micro_batches


class StepInputs(NamedTuple):
    """Images (N, H, W, C), and the step number that determines their views.

    Images come first because Keras weights the loss of a batch by the length of the first tensor.
    """

    images: Any
    step: Any


class StepRecorder:
    """Lets a GPU repeat the train steps of a model, unless that has failed before.

    Attributes:
        step: The `RecordedStep` of the training that runs, or None.
    """

    def __init__(self):
        self.step: RecordedStep | None = None
        self._has_failed = False

    @contextlib.contextmanager
    def recording(self, model):
        """Let a GPU repeat the train steps in this context, if it can."""
        if can_record() and not self._has_failed and _is_repeatable(model):
            variables = model.variables + model.metrics_variables + model.optimizer.variables
            self.step = RecordedStep(model.optimizer, variables)
        try:
            yield
        finally:
            if self.step is not None:
                self._has_failed = self.step.failed
                self.step.close()
                self.step = None


def _is_repeatable(model):
    optimizer = model.optimizer
    if not hasattr(optimizer, "learning_rate"):  # several optimizers
        return False
    reads_values = isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        optimizer.gradient_accumulation_steps or optimizer.ema_overwrite_frequency
    )
    return (
        not getattr(model.augmenter, "draws_when_called", True)
        and distribution.num_devices() == 1
        and not (model.run_eagerly or model.jit_compile or model.micro_batch_size or reads_values)
    )


def train_on_views(model, keras_step, args, recorded=None):
    """Run Keras' `train_step` on views of each image in a batch.

    Args:
        model: The `SimCLR` model.
        keras_step: `super().train_step` of the model.
        args: Arguments that Keras passed to the step: (data,), or (state, data) on JAX.
        recorded: The `RecordedStep` of this training. Defaults to None.

    Returns:
        The result of `keras_step`. A batch of one image is skipped, as there is no other image to
        compare it with.
    """
    counter = step_counter(model.optimizer)
    with counting(counter):
        return _run(model, keras_step, args, counter, 1, recorded)


def test_on_views(model, keras_step, args):
    """Run Keras' `test_step` on views of each image in a batch.

    The views depend on the number of images seen since the metrics were reset, so every
    evaluation of the same data uses the same views.
    """
    return _run(model, keras_step, args, images_seen(model), distribution.num_replicas())


def embed_views(model, inputs, training, parameters=None):
    """Return z of the views of each image.

    Args:
        model: The `SimCLR` model.
        inputs: `StepInputs` with N images.
        training: Whether this is a training step. In evaluation, other views are drawn, and the
            network runs in inference mode.
        parameters: Those of the views. Defaults to drawing them.

    Returns:
        Embeddings of the K views of each image, of shape (N, K, D), float32.
    """
    images, step = inputs
    batch_size = ops.shape(images)[0]
    num_devices = distribution.devices_per_program(batch_size)
    count = _num_micro_batches(batch_size // num_devices, model.micro_batch_size)

    def embed(index):
        views = draw_views(
            model.augmenter,
            take_view_shard(images, index, count, num_devices, batch_size // count),
            step,
            num_views=model.num_views,
            evaluation=not training,
            shard_id=count * distribution.replica_id() + index,
            num_shards=count * distribution.num_replicas(),
            num_devices=num_devices,
            parameters=parameters,
        )
        h = model.encoder(views, training=training)
        return ops.cast(model.projection_head(h, training=training), "float32")

    if isinstance(count, int) and count == 1:
        z = embed(0)
    else:
        layers = [model.encoder, model.projection_head]
        z = embed_micro_batches(embed, count, layers, model.augmenter.variables)
    width = z.shape[-1]
    z = ops.reshape(z, (count, num_devices, model.num_views, -1, width))
    return ops.reshape(ops.transpose(z, (1, 0, 3, 2, 4)), (-1, model.num_views, width))


def _run(model, keras_step, args, counter, multiple, recorded=None):
    """Run a Keras step on the images of its data, at step number `multiple * counter`."""
    *state, data = args
    images = with_static_rank(images_of(data), model.encoder.input_shape[-1])
    if model.micro_batch_size and distribution.num_devices() == 1:
        images = _drop_remainder(images, model.micro_batch_size)
    values = _values_in_step(model, state[0]) if state else []
    counter = next((value for variable, value in values if variable is counter), counter)

    def step():
        with on_host():
            inputs = StepInputs(images, ops.convert_to_tensor(known_value(counter)) * multiple)
        if recorded is None:
            return keras_step_on(inputs)
        on_device = StepInputs(ops.convert_to_tensor(images), None)
        return recorded(keras_step_on, on_device, _sample(model, inputs))

    def keras_step_on(inputs, parameters=None):
        of_views = functools.partial(embed_views, model, parameters=parameters)
        eager = keras.backend.backend() == "torch" and model.run_eagerly
        with calling(model, of_views), uncompiled() if eager else contextlib.nullcontext():
            return keras_step(*state, (inputs,))

    return _unless_single(model, images, state, step)


def _sample(model, inputs):
    images, step = inputs
    count, *size = images.shape
    return sample_views(model.augmenter, model.num_views * count, size, step)


def with_static_rank(images, channels):
    """Return images with a static rank and channel axis, which `tf.numpy_function` loses."""
    rank = getattr(images.shape, "rank", 4)
    if rank is None or images.shape[-1] is None:
        images.set_shape((None, None, None, channels))
    return images


def _num_micro_batches(batch_size, micro_batch_size):
    """Return the number of micro-batches; a batch smaller than one counts as one."""
    if not micro_batch_size:
        return 1
    count = batch_size // micro_batch_size
    return max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)


def _drop_remainder(images, micro_batch_size):
    """Drop the images after the last complete micro-batch; keep a batch smaller than one."""
    batch_size = ops.shape(images)[0]
    used = _num_micro_batches(batch_size, micro_batch_size) * micro_batch_size
    return images[:used] if isinstance(used, int) else images[: ops.minimum(batch_size, used)]


def _values_in_step(model, state):
    """Pair the model's variables with the values that JAX passes to a step."""
    groups = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
    if len(state) == 4:
        groups.insert(2, model.optimizer.variables)
    return [
        pair
        for group, values in zip(groups, state, strict=True)
        for pair in zip(group, values, strict=True)
    ]


def _unless_single(model, images, state, step):
    if distribution.num_replicas() > 1:  # their batches are full, and they must not branch
        return step()
    if images.shape[0] is None:
        return ops.cond(ops.shape(images)[0] > 1, step, lambda: _skip(model))
    if images.shape[0] > 1:
        return step()
    _warn_of_single()
    if state:
        with keras.StatelessScope(state_mapping=_values_in_step(model, state[0])):
            return model.get_metrics_result(), state[0]
    return model.get_metrics_result()


def _skip(model):
    import tensorflow as tf

    if not model.jit_compile:
        tf.numpy_function(_warn_of_single, [], [])
    return model.get_metrics_result()


def _warn_of_single():
    warnings.warn(
        "A batch of one image was skipped: there is no other image to compare it with. Drop the "
        "last incomplete batch of your dataset, or change the batch size.",
        stacklevel=2,
    )
