"""Processor time of a step of ConvMuon, and with the iteration of `keras.optimizers.Muon` instead.

    KERAS_BACKEND=torch python benchmarks/muon.py [--networks resnet18 resnet50] [--rounds 5]

The steps are along random gradients of all weights of a model, in turns. Keras' iteration
multiplies a whole kernel twice in each of its five steps.
"""

import argparse
import statistics
import time

import keras
import numpy as np
from keras import ops

from keras_simclr import ConvMuon, SimCLR
from keras_simclr.ops.compilation import compile_function


class PlainMuon(ConvMuon):
    """ConvMuon with the iteration of Keras."""

    def zeropower_via_newtonschulz5(self, x, steps):
        """Return approximately the orthogonal matrix nearest to a kernel."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        matrix = keras.optimizers.Muon.zeropower_via_newtonschulz5(self, matrix, steps)
        return ops.reshape(matrix, x.shape)


def new_step(optimizer, variables):
    """Return a function that makes a step; TensorFlow compiles it."""
    rng = np.random.default_rng(0)
    gradients = [
        ops.convert_to_tensor(rng.normal(size=variable.shape).astype("float32"))
        for variable in variables
    ]
    optimizer.build(variables)

    def step():
        optimizer.apply(gradients, variables)

    return compile_function(step) if keras.backend.backend() == "tensorflow" else step


def measure(network, rounds):
    """Print the medians of both times, and that of their ratios."""
    model = SimCLR(network, seed=0)
    model.build((None, 32, 32, 3))
    steps = [new_step(kind(0.01), model.trainable_variables) for kind in (ConvMuon, PlainMuon)]
    seconds = []
    for _ in range(rounds + 1):
        of_round = []
        for step in steps:
            began = time.process_time()
            step()
            ops.convert_to_numpy(model.trainable_variables[-1])  # waits
            of_round.append(time.process_time() - began)
        seconds.append(of_round)
    ours, plain = np.median(seconds[1:], axis=0)  # the first round compiles
    ratio = statistics.median(a / b for a, b in seconds[1:])
    print(f"{network:12} {ours:8.3f} s, with Keras' iteration {plain:8.3f} s, ratio {ratio:.2f}")


def main(arguments=None):
    """Measure the networks that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    for network in options.networks:
        measure(network, options.rounds)


if __name__ == "__main__":
    main()
