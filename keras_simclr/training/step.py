"""What Keras' train and test steps need around them, backend by backend."""

import warnings

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.training.micro_batches import embed_micro_batches
from keras_simclr.training.views import draw_views, take_share


def train_on_views(model, keras_step, args):
    """Run `keras_step`, a Keras `train_step`, on both views of a batch.

    Args:
        model: The `SimCLR` model.
        keras_step: `super().train_step` of the model.
        args: What Keras called the step with: (data,), or (state, data) on JAX.

    Returns:
        What `keras_step` returns. A batch of one picture, which has nothing to be compared with,
        changes nothing.
    """
    return _run(model, keras_step, args, model.optimizer.iterations, 1)


def test_on_views(model, keras_step, args):
    """Run `keras_step`, a Keras `test_step`, on both views of a batch.

    The draws depend on the number of pictures seen since the metrics were reset, so that each
    evaluation of the same data sees the same views.
    """
    return _run(model, keras_step, args, model.pictures_seen, distribution.replicas())


def pictures_of(data):
    """Return the pictures of a batch, whose labels, if any, are ignored."""
    return data[0] if isinstance(data, (tuple, list)) else data


def embed_views(model, pictures, step, training):
    """Return z of both views of the pictures that belong to `step`.

    Args:
        model: The `SimCLR` model.
        pictures: Of shape (N, H, W, C).
        step: Number that fixes the draws, a scalar tensor.
        training: Whether in training, or in evaluation, which has draws of its own.

    Returns:
        Embeddings of the first and the second view of each picture, of shape (N, 2, D), float32.
    """
    pictures_in_all = ops.shape(pictures)[0]
    blocks = distribution.blocks(pictures_in_all)
    count = _micro_batches(pictures_in_all // blocks, model.micro_batch_size)

    def embed(number):
        views = draw_views(
            model.augmenter,
            take_share(pictures, number, count, blocks, pictures_in_all // count),
            step,
            kinds=2,
            evaluation=not training,
            share=count * distribution.replica() + number,
            shares=count * distribution.replicas(),
            blocks=blocks,
        )
        h = model.encoder(views, training=training)
        return ops.cast(model.projection_head(h, training=training), "float32")

    if isinstance(count, int) and count == 1:
        z = embed(0)
    else:
        layers = [model.encoder, model.projection_head]
        z = embed_micro_batches(embed, count, layers, model.augmenter.variables)
    dimensions = z.shape[-1]
    z = ops.reshape(z, (count, blocks, 2, -1, dimensions))
    return ops.reshape(ops.transpose(z, (1, 0, 3, 2, 4)), (-1, 2, dimensions))


def _run(model, keras_step, args, counter, times):
    *state, data = args
    images = pictures_of(data)
    if model.micro_batch_size and distribution.devices() == 1:
        images = _filling(images, model.micro_batch_size)
    values = _values_in_step(model, state[0]) if state else []
    counter = next((value for variable, value in values if variable is counter), counter)

    def step():
        given = {"pictures": images, "step": ops.convert_to_tensor(counter) * times}
        return keras_step(*state, (given,))

    return _unless_single(model, images, state, step)


def _micro_batches(pictures, size):
    """Return the number of micro-batches; the pictures of a batch too small for one make one."""
    if not size:
        return 1
    count = pictures // size
    return max(count, 1) if isinstance(count, int) else ops.maximum(count, 1)


def _filling(images, size):
    """Return the pictures that fill micro-batches; those left over sit this step out."""
    pictures = ops.shape(images)[0]
    used = _micro_batches(pictures, size) * size
    return images[:used] if isinstance(used, int) else images[: ops.minimum(pictures, used)]


def _values_in_step(model, state):
    """Pair the model's variables with the values that JAX hands to a step."""
    groups = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
    if len(state) == 4:
        groups.insert(2, model.optimizer.variables)
    return [
        pair
        for group, values in zip(groups, state, strict=True)
        for pair in zip(group, values, strict=True)
    ]


def _unless_single(model, images, state, step):
    if distribution.replicas() > 1:  # whose batches are full, and which may not wait in a branch
        return step()
    if images.shape[0] is None:
        return ops.cond(ops.shape(images)[0] > 1, step, lambda: _skipped(model))
    if images.shape[0] > 1:
        return step()
    _warn_of_single()
    if state:
        with keras.StatelessScope(state_mapping=_values_in_step(model, state[0])):
            return model.get_metrics_result(), state[0]
    return model.get_metrics_result()


def _skipped(model):
    import tensorflow as tf

    if not model.jit_compile:
        tf.numpy_function(_warn_of_single, [], [])
    return model.get_metrics_result()


def _warn_of_single():
    warnings.warn(
        "A batch of one picture was passed over: it has no other picture to be told apart from. "
        "Drop the last incomplete batch of your dataset, or choose another batch size.",
        stacklevel=2,
    )
