"""What Keras' train and test steps need around them, backend by backend."""

import warnings

import keras
from keras import ops

from keras_simclr.training.views import draw_views


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
    return _run(model, keras_step, args, model.optimizer.iterations, evaluation=False)


def test_on_views(model, keras_step, args):
    """Run `keras_step`, a Keras `test_step`, on both views of a batch.

    The draws depend on the number of pictures seen since the metrics were reset, so that each
    evaluation of the same data sees the same views.
    """
    return _run(model, keras_step, args, model.pictures_seen, evaluation=True)


def pictures_of(data):
    """Return the pictures of a batch, whose labels, if any, are ignored."""
    return data[0] if isinstance(data, (tuple, list)) else data


def _run(model, keras_step, args, counter, evaluation):
    *state, data = args
    images = pictures_of(data)
    values = _values_in_step(model, state[0]) if state else []
    counter = next((value for variable, value in values if variable is counter), counter)

    def step():
        both = ops.concatenate([images, images])
        return keras_step(*state, (draw_views(model.augmenter, both, counter, evaluation, values),))

    return _unless_single(model, images, state, step)


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
