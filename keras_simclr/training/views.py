"""The views of a batch, as a function of the model's seed and the step alone."""

import inspect
import warnings

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution

STRIDE = 64  # seeds that the views of one step may draw from a generator
STEPS = 2**24  # after as many steps the draws of a generator begin again
EVALUATION = STRIDE * STEPS  # evaluation draws from the other half of a generator's stream
SPREAD = 1_000_003  # takes the seeds of two shares far apart


def derived_seed(*words):
    """Return a seed of 31 bits that depends on all of `words`, which are integers."""
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def draw_views(
    augmenter, pictures, step, *, kinds=1, evaluation=False, share=0, shares=1, blocks=1
):
    """Make the views that belong to `step`.

    The random state of every layer is replaced by a function of its own seed and of `step`, and
    left as it was. So nothing has to be saved or written back: the same step of the same model
    has the same views, whether the run was interrupted or not.

    The pictures may be one of several equal shares of a batch. What an augmenter of ours draws,
    it draws for the whole batch, so that views do not depend on how a batch is shared; other
    layers draw from seeds of their own in each share.

    Args:
        augmenter: Any Keras layer from images to images.
        pictures: Of shape (N, H, W, C).
        step: Non-negative integer or scalar tensor.
        kinds: Views of each picture, 1 or 2. Defaults to 1.
        evaluation: Whether to draw what no step of training ever draws.
        share: Number of the share, an integer or scalar tensor.
        shares: Number of shares of which the batch consists.
        blocks: Number of blocks of the batch, of each of which the pictures are the share.

    Returns:
        The views, of shape (kinds * N, h, w, C): for each block all first views, then all second.
    """
    count, height, width, _ = ops.shape(pictures)
    takes = inspect.signature(augmenter.call).parameters
    arguments = {"blocks": blocks} if "blocks" in takes else {}
    if takes_parameters(augmenter):
        with _states_of(augmenter, step, evaluation):
            drawn = augmenter.sample(kinds * count * shares, height, width)
        if not isinstance(shares, int) or shares * blocks > 1:
            drawn = keras.tree.map_structure(
                lambda leaf: (
                    None if leaf is None else take_share(leaf, share, shares, blocks, count)
                ),
                drawn,
            )
        arguments["parameters"] = drawn
    images = pictures
    if kinds > 1:
        of_blocks = ops.reshape(pictures, (blocks, -1, *pictures.shape[1:]))
        of_blocks = ops.concatenate([of_blocks] * kinds, axis=1)
        images = ops.reshape(of_blocks, (-1, *pictures.shape[1:]))
    with _states_of(augmenter, step, evaluation, share):
        return augmenter(images, training=True, **arguments)


def takes_parameters(layer):
    """Tell whether a layer can be given what it would draw, as those of ours can."""
    return hasattr(layer, "sample") and "parameters" in inspect.signature(layer.call).parameters


def seed_states(layer):
    """Return the variables that hold the random states of a layer and of those in it."""
    return [v for v in layer.variables if v.name == "seed_generator_state"]


def uncompilable_layers(augmenter):
    """Return the names of the layers that neither JAX nor XLA can compile."""
    return [layer.name for layer in augmenter._flatten_layers() if not layer.supports_jit]


def warn_if_uncompilable(augmenter):
    """Tell what it costs if a layer of the augmenter cannot be compiled."""
    slow = uncompilable_layers(augmenter)
    if slow:
        warnings.warn(
            f"The layers {slow} of the augmenter cannot be compiled, so on JAX, and on TensorFlow "
            "with XLA, the whole step runs uncompiled: several times slower. "
            "`keras_simclr.layers` has transforms that can.",
            stacklevel=3,
        )


def view_function(augmenter):
    """Return the compiled function (pictures, step) -> one view of each, a NumPy array."""
    index, count = distribution.feed_part()

    def views(images, step):
        with distribution.local():
            return draw_views(augmenter, images, step, share=index, shares=count)

    if keras.backend.backend() == "jax" and not uncompilable_layers(augmenter):
        import jax

        views = jax.jit(views)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        views = tf.function(views, reduce_retracing=True)
    return lambda images, step: ops.convert_to_numpy(
        views(ops.convert_to_tensor(images), ops.convert_to_tensor(np.int32(step % STEPS)))
    )


def take_share(rows, share, shares, blocks, count):
    """Return the rows of one of equal shares of each block of pictures.

    Args:
        rows: For all pictures, or for the first and then for the second views of all.
        share: Number of the share, an integer or scalar tensor.
        shares: Number of shares.
        blocks: Number of blocks.
        count: Pictures in the share, of all blocks.

    Returns:
        For each block the rows of its pictures, or of their first and then their second views.
    """
    parts = ops.reshape(rows, (-1, blocks, shares, count // blocks, *rows.shape[1:]))
    return ops.reshape(ops.swapaxes(parts[:, :, share], 0, 1), (-1, *rows.shape[1:]))


def _states_of(augmenter, step, evaluation, share=0):
    """Return a scope in which the random states are those of a step; all else stays as it is."""
    values = [(variable, variable.value) for variable in augmenter.variables]
    states = [(v, _state(v, step, evaluation, share)) for v in seed_states(augmenter)]
    return keras.StatelessScope(state_mapping=[*values, *states])


def _state(variable, step, evaluation, share):
    position = STRIDE * (ops.cast(step, "int32") % STEPS) + EVALUATION * evaluation
    seed = ops.bitwise_xor(variable.value[0], ops.cast(SPREAD * share, variable.dtype))
    return ops.stack([seed, ops.cast(position, variable.dtype)])
