"""Time and memory of NT-Xent, forward and backward, compared with the dense form and lightly.

    python -m venv peers && peers/bin/pip install -r benchmarks/requirements-peers.txt
    python benchmarks/nt_xent.py --peers peers/bin/python [--sizes 1024 4096] [--rounds 5]

Embeddings are float32 with 128 dimensions; a size is their number, 2N. "ours" is the loss as in a
training step, compiled on TensorFlow and JAX. "dense" lets the backend differentiate all 2N x 2N
logits, compiled in the same way. lightly is its `NTXentLoss` on PyTorch. Each runs in a process of
its own with two threads, and they take turns after a warm-up call. Memory is the peak of a call
above what the process held before the first call of that size.
"""

import argparse
import statistics
import sys

import numpy as np
from memory_use import one_round, serve, started, stop

DIMENSIONS = 128
TEMPERATURE = 0.5
SIZES = [1024, 4096, 8192, 16384, 65536]
LIGHTLY = "lightly"


def embeddings(size):
    """Return z of the first and of the second views, `size` rows in total."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, size // 2, DIMENSIONS)).astype("float32")


def ours(z_a, z_b):
    """Return a function that computes this package's loss and its gradients."""
    from keras_simclr.losses import NTXentLoss

    return differentiated(NTXentLoss(TEMPERATURE), z_a, z_b)


def dense(z_a, z_b):
    """Return the same for the loss with all logits at once."""
    from keras import ops

    def loss(z_a, z_b):
        z = ops.normalize(ops.concatenate([z_a, z_b]), axis=-1)
        logits = ops.matmul(z, ops.transpose(z)) / TEMPERATURE  # (2N, 2N)
        logits = logits - 1e9 * ops.eye(len(z))
        positives = ops.sum(z * ops.roll(z, len(z) // 2, axis=0), axis=1) / TEMPERATURE
        return ops.mean(ops.logsumexp(logits, axis=1) - positives)

    return differentiated(loss, z_a, z_b)


def lightly(z_a, z_b):
    """Return the same for lightly's loss."""
    from lightly.loss import NTXentLoss

    return on_torch(NTXentLoss(TEMPERATURE), z_a, z_b)


def differentiated(loss, z_a, z_b):
    """Return a function that computes the loss and its gradients, and returns the loss."""
    import keras

    on_backend = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}
    return on_backend[keras.backend.backend()](loss, z_a, z_b)


def on_tensorflow(loss, *arrays):
    """Do that on TensorFlow, compiled."""
    import tensorflow as tf

    @tf.function
    def step(*z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(*z)
        return value, tape.gradient(value, z)

    z = [tf.constant(array) for array in arrays]
    step = step.get_concrete_function(*z)
    return lambda: float(step(*z)[0])


def on_jax(loss, *arrays):
    """Do that on JAX, compiled."""
    import jax

    z = [jax.numpy.asarray(array) for array in arrays]
    step = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*z).compile()
    return lambda: float(jax.block_until_ready(step(*z))[0])


def on_torch(loss, *arrays):
    """Do that on PyTorch, eagerly."""
    import torch

    z = [torch.tensor(array, requires_grad=True) for array in arrays]

    def step():
        value = loss(*z)
        torch.autograd.grad(value, z)
        return value.item()

    return step


BACKENDS = ("tensorflow", "jax", "torch")
CONTESTANTS = {
    **{f"ours, {backend}": (ours, backend) for backend in BACKENDS},
    **{f"dense, {backend}": (dense, backend) for backend in BACKENDS},
    LIGHTLY: (lightly, "torch"),
}


def start(name, size, peers=None):
    """Start a contestant."""
    python = peers if name == LIGHTLY else sys.executable
    backend = CONTESTANTS[name][1]
    options = ("--serve", name, "--sizes", size)
    return started(__file__, *options, python=python, KERAS_BACKEND=backend)


def alternate(processes, rounds):
    """Return the seconds, MiB and loss of each round of each process, after a warm-up round."""
    rows = [{name: one_round(p) for name, p in processes.items()} for _ in range(rounds + 1)]
    for process in processes.values():
        stop(process)
    return {name: [row[name] for row in rows[1:]] for name in processes}


def compare(size, names, peers, rounds):
    """Print what each contestant needs for `size` embeddings."""
    measured = alternate({name: start(name, size, peers) for name in names}, rounds)
    check_losses({name: rows[0][2] for name, rows in measured.items()})
    print(f"2N = {size}, all logits {4 * size**2 / 2**20:.0f} MiB")
    for name, rows in measured.items():
        print(f"  {name:18}{described(rows, measured.get(LIGHTLY))}", flush=True)


def described(rows, peer):
    """Return median, peak, and both over lightly's."""
    seconds, memory, _ = zip(*rows, strict=True)
    text = f"{1e3 * statistics.median(seconds):9.1f} ms {max(memory):8.1f} MiB"
    if not peer:
        return text
    seconds_of_peer, memory_of_peer, _ = zip(*peer, strict=True)
    time = statistics.median(a / b for a, b in zip(seconds, seconds_of_peer, strict=True))
    return (
        f"{text}, over lightly's: time {time:.2f}, memory {max(memory) / max(memory_of_peer):.3f}"
    )


def check_losses(losses):
    """Raise a ValueError unless all contestants compute the same loss."""
    if not np.allclose(list(losses.values()), next(iter(losses.values())), rtol=1e-4):
        raise ValueError(f"All must compute the same loss. Received: {losses}.")


def participants(size, peers, only, largest_dense):
    """Return the names of the contestants that run at a size."""
    return [
        name
        for name in CONTESTANTS
        if (peers or name != LIGHTLY)
        and (size <= largest_dense or name.startswith("ours"))
        and (not only or any(part in name for part in only))
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", help="Python of the environment of the peers")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--largest-dense", type=int, default=16384, help="largest for the others")
    parser.add_argument("--only", nargs="+", help="names of contestants, or substrings of them")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        make = CONTESTANTS[options.serve][0]
        make(*embeddings(16))()  # so that the start of a framework is not measured
        serve(make(*embeddings(options.sizes[0])))
        sys.exit()
    for count in options.sizes:
        chosen = participants(count, options.peers, options.only, options.largest_dense)
        compare(count, chosen, options.peers, options.rounds)
