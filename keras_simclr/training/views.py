"""The views of a batch, as a function of the model's seed and the step alone."""

import keras
import numpy as np
from keras import ops

STRIDE = 64  # seeds that the views of one step may draw from a generator
STEPS = 2**24  # after as many steps the draws of a generator begin again
EVALUATION = STRIDE * STEPS  # evaluation draws from the other half of a generator's stream


def derived_seed(*words):
    """Return a seed of 31 bits that depends on all of `words`, which are integers."""
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def draw_views(augmenter, images, step, evaluation=False, values=()):
    """Make the views that belong to `step`.

    The random state of every layer is replaced by a function of its own seed and of `step`, and
    left as it was. So nothing has to be saved or written back: the same step of the same model
    has the same views, whether the run was interrupted or not.

    Args:
        augmenter: Any Keras layer from images to images.
        images: Pictures of shape (N, H, W, C).
        step: Non-negative integer or scalar tensor.
        evaluation: Whether to draw what no step of training ever draws.
        values: (variable, value) pairs that hold in place of the variables' own values, as in a
            step of JAX.

    Returns:
        The views, of shape (N, h, w, C).
    """
    held = {id(variable): value for variable, value in values}
    states = [(v, _state(v, held.get(id(v), v), step, evaluation)) for v in seed_states(augmenter)]
    with keras.StatelessScope(state_mapping=[*values, *states]):
        return augmenter(images, training=True)


def seed_states(layer):
    """Return the variables that hold the random states of a layer and of those in it."""
    return [v for v in layer.variables if v.name == "seed_generator_state"]


def uncompilable_layers(augmenter):
    """Return the names of the layers that neither JAX nor XLA can compile."""
    return [layer.name for layer in augmenter._flatten_layers() if not layer.supports_jit]


def view_function(augmenter):
    """Return the compiled function (pictures, step) -> one view of each, a NumPy array."""

    def views(images, step):
        return draw_views(augmenter, images, step)

    if keras.backend.backend() == "jax" and not uncompilable_layers(augmenter):
        import jax

        views = jax.jit(views)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        views = tf.function(views, reduce_retracing=True)
    return lambda images, step: ops.convert_to_numpy(
        views(ops.convert_to_tensor(images), ops.convert_to_tensor(np.int32(step % STEPS)))
    )


def _state(variable, value, step, evaluation):
    position = STRIDE * (ops.cast(step, "int32") % STEPS) + EVALUATION * evaluation
    return ops.stack([value[0], ops.cast(position, variable.dtype)])
