"""Large batches in the memory of small ones, by gradient caching.

The micro-batches are embedded without keeping the activations of the encoder, and the loss
compares all embeddings. A second pass over the micro-batches then back-propagates the gradient
of the loss with respect to each embedding.

References:
    Gao et al. 2021 (arXiv:2101.06983), section 3.
"""

import functools

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.ops.custom_gradient import custom_gradient


def embed_micro_batches(embed, count, layers, other_variables):
    """Embed micro-batches one at a time, in the backward pass as well.

    Args:
        embed: Function from the index of a micro-batch, an integer or a scalar tensor, to its
            embeddings, whose shape is the same for all micro-batches.
        count: Number of micro-batches, an integer or, on TensorFlow, a scalar tensor.
        layers: Keras layers whose weights `embed` uses. Their state, such as the moving
            statistics of BatchNormalization and the seeds of Dropout, is passed from one
            micro-batch to the next; the second pass uses the same states as the first.
        other_variables: Other variables that `embed` reads.

    Returns:
        The embeddings, of shape (count, ...).

    Raises:
        ValueError: If a layer adds a loss.
    """
    trainable = [v for layer in layers for v in layer.trainable_variables]
    states = [v for layer in layers for v in layer.non_trainable_variables]
    constants = [(v, v.value) for v in other_variables]

    def embed_with(weights, values, index):
        mapping = [*zip(trainable, weights, strict=True), *zip(states, values, strict=True)]
        with keras.StatelessScope([*mapping, *constants], collect_losses=True) as scope:
            z = embed(index)
            _check_no_losses(scope)
            return z, [scope.get_current_value(state) for state in states]

    on_backend = {"jax": _on_jax, "tensorflow": _on_tensorflow, "torch": _on_torch}
    weights, values = ([ops.convert_to_tensor(v) for v in group] for group in (trainable, states))
    z, values = on_backend[keras.backend.backend()](embed_with, weights, values, count)
    for state, value in zip(states, values, strict=True):
        is_statistic = keras.backend.is_float_dtype(state.dtype)
        state.assign(distribution.all_reduce_mean(value) if is_statistic else value)
    return z


def _check_no_losses(scope):
    if scope.losses:
        raise ValueError(
            "Losses added by layers, for example by an `activity_regularizer`, do not work with "
            f"`micro_batch_size`. Received: {len(scope.losses)} of them. Remove these losses, or "
            "do not set `micro_batch_size`."
        )


def _on_jax(embed, weights, states, count):
    import jax

    indices = jax.numpy.arange(count)

    def forward(weights, states):
        def step(states, index):
            z, after = embed(weights, states, index)
            return after, (z, states)

        after, (z, before) = jax.lax.scan(step, states, indices)
        return (z, after), (weights, before)

    def backward(kept, given):
        weights, before = kept

        def step(sums, inputs):
            index, states, z_gradient = inputs
            held = weights
            if in_line:  # in sequence, so that only one is in memory at a time
                held = [w + 0 * s for w, s in zip(weights, sums, strict=True)]
            _, pull = jax.vjp(lambda held: embed(held, states, index)[0], held)
            return [s + g for s, g in zip(sums, pull(z_gradient)[0], strict=True)], None

        in_line = jax.default_backend() == "cpu"  # where XLA runs convolutions in a loop slowly
        sums = [jax.numpy.zeros_like(weight) for weight in weights]
        inputs = (indices, before, given[0])
        return jax.lax.scan(step, sums, inputs, unroll=count if in_line else 1)[0], None

    embed_all = jax.custom_vjp(lambda *given: forward(*given)[0])
    embed_all.defvjp(forward, backward)
    return embed_all(weights, states)


def _on_tensorflow(embed, weights, states, count):
    import tensorflow as tf

    def arrays(tensors):
        return [tf.TensorArray(tensor.dtype, count) for tensor in tensors]

    def unfinished(index, *_):
        return index < count

    @custom_gradient
    def embed_all(*weights):
        def forward(index, states, before, results):
            before = [a.write(index, s) for a, s in zip(before, states, strict=True)]
            z, states = embed(weights, states, index)
            return index + 1, states, before, results.write(index, z)

        results = tf.TensorArray(tf.float32, count)
        given = (0, states, arrays(states), results)
        _, after, before, results = tf.while_loop(unfinished, forward, given, parallel_iterations=1)

        def gradient(z_gradient, *_):
            def backward(index, sums):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    z, _ = embed(weights, [array.read(index) for array in before], index)
                gradients = tape.gradient(
                    z,
                    weights,
                    z_gradient[index],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                return index + 1, [s + g for s, g in zip(sums, gradients, strict=True)]

            sums = [tf.zeros_like(weight) for weight in weights]
            return tf.while_loop(unfinished, backward, (0, sums), parallel_iterations=1)[1]

        return (results.stack(), *after), gradient

    # Plain tensors, as the gradient is not recorded for variables.
    z, *states = embed_all(*map(tf.convert_to_tensor, weights))
    return z, states


def _on_torch(embed, weights, states, count):
    after: list = []
    return _embed_all_of_torch().apply(embed, states, after, count, *weights), after


@functools.cache
def _embed_all_of_torch():
    """Return a function of autograd; a class for each step would keep its images in a cycle."""
    import torch

    class EmbedAll(torch.autograd.Function):
        @staticmethod
        def forward(ctx, embed, states, after, count, *weights):
            ctx.save_for_backward(*weights)
            ctx.embed, ctx.states = embed, [states]
            results = []
            for index in range(count):
                z, states = embed(weights, ctx.states[-1], index)
                ctx.states.append(states)
                results.append(z)
            after.extend(ctx.states.pop())
            return torch.stack(results)

        @staticmethod
        def backward(ctx, z_gradient):
            weights = [weight.detach().requires_grad_() for weight in ctx.saved_tensors]
            sums = [torch.zeros_like(weight) for weight in weights]
            for index, before in enumerate(ctx.states):
                with torch.enable_grad():
                    z, _ = ctx.embed(weights, before, index)
                gradients = torch.autograd.grad(z, weights, z_gradient[index], allow_unused=True)
                for total, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        total += gradient
            return None, None, None, None, *sums

    return EmbedAll
