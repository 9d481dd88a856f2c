"""The views of a batch, as a function of the model's seed and the step alone."""

import inspect

import keras
import numpy as np
from keras import ops

STRIDE = 64  # seeds that the views of one step may draw from a generator
STEPS = 2**24  # after as many steps the draws of a generator begin again
EVALUATION = STRIDE * STEPS  # evaluation draws from the other half of a generator's stream
SPREAD = 1_000_003  # takes the seeds of two shares far apart


def derived_seed(*words):
    """Return a seed of 31 bits that depends on all of `words`, which are integers."""
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def draw_views(augmenter, images, step, evaluation=False, share=0, shares=1):
    """Make the views that belong to `step`.

    The random state of every layer is replaced by a function of its own seed and of `step`, and
    left as it was. So nothing has to be saved or written back: the same step of the same model
    has the same views, whether the run was interrupted or not.

    The pictures may be one of several equal shares of a batch. What an augmenter of ours draws,
    it draws for the whole batch, so that views do not depend on how a batch is shared; other
    layers draw from seeds of their own in each share.

    Args:
        augmenter: Any Keras layer from images to images.
        images: Pictures of shape (N, H, W, C); of several shares, those for [all first views; all
            second views] of a share.
        step: Non-negative integer or scalar tensor.
        evaluation: Whether to draw what no step of training ever draws.
        share: Number of the share, an integer or scalar tensor.
        shares: Number of shares of which the batch consists.

    Returns:
        The views, of shape (N, h, w, C).
    """
    arguments = {}
    if takes_parameters(augmenter):
        count, height, width, _ = ops.shape(images)
        with _states_of(augmenter, step, evaluation):
            drawn = augmenter.sample(count * shares, height, width)
        arguments["parameters"] = keras.tree.map_structure(
            lambda leaf: _share_of_views(leaf, share, shares, count), drawn
        )
    with _states_of(augmenter, step, evaluation, share):
        return augmenter(images, training=True, **arguments)


def takes_parameters(augmenter):
    """Tell whether an augmenter can be given what it would draw, as those of ours can."""
    return "parameters" in inspect.signature(augmenter.call).parameters


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


def take_share(rows, share, shares):
    """Return the rows (N / shares, ...) of one of equal shares of N rows, in their order."""
    return ops.reshape(rows, (shares, -1, *rows.shape[1:]))[share]


def _states_of(augmenter, step, evaluation, share=0):
    """Return a scope in which the random states are those of a step; all else stays as it is."""
    values = [(variable, variable.value) for variable in augmenter.variables]
    states = [(v, _state(v, step, evaluation, share)) for v in seed_states(augmenter)]
    return keras.StatelessScope(state_mapping=[*values, *states])


def _state(variable, step, evaluation, share):
    position = STRIDE * (ops.cast(step, "int32") % STEPS) + EVALUATION * evaluation
    seed = ops.bitwise_xor(variable.value[0], ops.cast(SPREAD * share, variable.dtype))
    return ops.stack([seed, ops.cast(position, variable.dtype)])


def _share_of_views(drawn, share, shares, count):
    """Return the part of what was drawn for [all first views; all second views]."""
    if drawn is None or (isinstance(shares, int) and shares == 1):
        return drawn
    both = ops.reshape(drawn, (-1, shares, count // 2, *drawn.shape[1:]))
    return ops.reshape(both[:, share], (-1, *drawn.shape[1:]))
