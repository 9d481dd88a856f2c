"""Large batches in the memory of small ones, by gradient caching.

The embeddings of all micro-batches are computed without keeping what the encoder computed on its
way, the loss compares all of them, and its gradient by each embedding goes back through a second
pass over the micro-batches.

Source: Gao et al. 2021 (arXiv:2101.06983), section 3.
"""

import keras
from keras import ops

from keras_simclr import distribution


def embed_micro_batches(embed, count, layers, others):
    """Embed micro-batches one after the other, with a gradient that takes one at a time.

    Args:
        embed: Function of the number of a micro-batch, an integer or a scalar tensor, that gives
            its embeddings, of a shape that is the same for all.
        count: Number of micro-batches, an integer or a scalar tensor on TensorFlow.
        layers: Keras layers whose weights `embed` uses. Their state, such as the moving
            statistics of BatchNormalization and the seeds of Dropout, goes on from one
            micro-batch to the next; the second pass sees what the first one saw.
        others: Further variables that `embed` reads.

    Returns:
        The embeddings, of shape (count, ...).
    """
    trainable = [v for layer in layers for v in layer.trainable_variables]
    states = [v for layer in layers for v in layer.non_trainable_variables]
    fixed = [(v, v.value) for v in others]

    def embed_with(weights, values, number):
        mapping = [*zip(trainable, weights, strict=True), *zip(states, values, strict=True)]
        with keras.StatelessScope([*mapping, *fixed], collect_losses=True) as scope:
            z = embed(number)
            _check_no_losses(scope)
            return z, [scope.get_current_value(state) for state in states]

    on_backend = {"jax": _on_jax, "tensorflow": _on_tensorflow, "torch": _on_torch}
    weights, values = ([ops.convert_to_tensor(v) for v in group] for group in (trainable, states))
    z, values = on_backend[keras.backend.backend()](embed_with, weights, values, count)
    for state, value in zip(states, values, strict=True):
        is_statistic = keras.backend.is_float_dtype(state.dtype)
        state.assign(distribution.average(value) if is_statistic else value)
    return z


def _check_no_losses(scope):
    if scope.losses:
        raise ValueError(
            "Losses that layers add, such as those of an `activity_regularizer`, do not go with "
            f"`micro_batch_size`. Received: {len(scope.losses)} of them. Leave one of the two out."
        )


def _on_jax(embed, weights, states, count):
    import jax

    numbers = jax.numpy.arange(count)

    def forward(weights, states):
        def step(states, number):
            z, after = embed(weights, states, number)
            return after, (z, states)

        after, (z, before) = jax.lax.scan(step, states, numbers)
        return (z, after), (weights, before)

    def backward(kept, given):
        weights, before = kept

        def step(sums, of_one):
            number, states, of_z = of_one
            held = weights
            if in_line:  # one after the other, lest all be in memory at once
                held = [w + 0 * s for w, s in zip(weights, sums, strict=True)]
            _, pull = jax.vjp(lambda held: embed(held, states, number)[0], held)
            return [s + g for s, g in zip(sums, pull(of_z)[0], strict=True)], None

        in_line = jax.default_backend() == "cpu"  # whose XLA has slow convolutions in a loop
        sums = [jax.numpy.zeros_like(weight) for weight in weights]
        of_all = (numbers, before, given[0])
        return jax.lax.scan(step, sums, of_all, unroll=count if in_line else 1)[0], None

    embed_all = jax.custom_vjp(lambda *given: forward(*given)[0])
    embed_all.defvjp(forward, backward)
    return embed_all(weights, states)


def _on_tensorflow(embed, weights, states, count):
    import tensorflow as tf

    def arrays(tensors):
        return [tf.TensorArray(tensor.dtype, count) for tensor in tensors]

    def going(number, *_):
        return number < count

    @tf.custom_gradient
    def embed_all(*weights):
        def forward(number, states, before, results):
            before = [a.write(number, s) for a, s in zip(before, states, strict=True)]
            z, states = embed(weights, states, number)
            return number + 1, states, before, results.write(number, z)

        results = tf.TensorArray(tf.float32, count)
        given = (0, states, arrays(states), results)
        _, after, before, results = tf.while_loop(going, forward, given, parallel_iterations=1)

        def gradient(of_z, *_):
            def backward(number, sums):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    z, _ = embed(weights, [array.read(number) for array in before], number)
                gradients = tape.gradient(
                    z, weights, of_z[number], unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                return number + 1, [s + g for s, g in zip(sums, gradients, strict=True)]

            sums = [tf.zeros_like(weight) for weight in weights]
            return tf.while_loop(going, backward, (0, sums), parallel_iterations=1)[1]

        return (results.stack(), *after), gradient

    # As plain tensors: run eagerly, `custom_gradient` looks out for variables inside.
    z, *states = embed_all(*map(tf.convert_to_tensor, weights))
    return z, states


def _on_torch(embed, weights, states, count):
    import torch

    class EmbedAll(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *weights):
            ctx.save_for_backward(*weights)
            ctx.states = [states]
            results = []
            for number in range(count):
                z, after = embed(weights, ctx.states[-1], number)
                ctx.states.append(after)
                results.append(z)
            final.extend(ctx.states.pop())
            return torch.stack(results)

        @staticmethod
        def backward(ctx, of_z):
            weights = [weight.detach().requires_grad_() for weight in ctx.saved_tensors]
            sums = [torch.zeros_like(weight) for weight in weights]
            for number, before in enumerate(ctx.states):
                with torch.enable_grad():
                    z, _ = embed(weights, before, number)
                gradients = torch.autograd.grad(z, weights, of_z[number], allow_unused=True)
                for total, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        total += gradient
            return tuple(sums)

    final = []
    return EmbedAll.apply(*weights), final
