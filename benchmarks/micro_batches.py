"""Cost of a large batch in micro-batches: time compared with plain steps, and memory.

    KERAS_BACKEND=tensorflow python benchmarks/micro_batches.py [--batch 1024] [--micro 128]
    KERAS_BACKEND=tensorflow python benchmarks/micro_batches.py --memory --batch 4096
    KERAS_BACKEND=tensorflow python benchmarks/micro_batches.py --memory --plain --batch 256

The first trains the small ResNet, alternately by one step in micro-batches and by plain steps over
the same images, and prints medians and the median ratio. `--memory` makes a single step of
ResNet-18 and prints the peak of the process; its time includes compilation.
"""

import argparse
import statistics
import time

import keras
from memory_use import peak
from step import compiled, random_images, seconds

from keras_simclr import SimCLR
from keras_simclr.ops.fast_layers import fast_layers
from keras_simclr.ops.host_memory import freed_memory_kept


@freed_memory_kept()  # as in `fit`
def compare(batch, micro, size, rounds, network):
    """Print the time of a step in micro-batches and of plain steps over the same images."""
    in_micro_batches = compiled(SimCLR, size, network, micro_batch_size=micro)
    plain = compiled(SimCLR, size, network)
    images = random_images(batch, size)
    batches = [images[start : start + micro] for start in range(0, batch, micro)]

    def pair():
        return seconds(in_micro_batches, images), sum(seconds(plain, b) for b in batches)

    with fast_layers(in_micro_batches), fast_layers(plain):
        pairs = [pair() for _ in range(rounds + 1)][1:]
    one, several = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{keras.backend.backend():10} {size:3} px: step of {batch} in micro-batches of {micro} "
        f"{1e3 * one:.0f} ms, {len(batches)} plain steps {1e3 * several:.0f} ms, ratio {ratio:.3f}"
    )


def measure_memory(batch, micro, size):
    """Print peak, time and loss of the first step of ResNet-18; `micro` may be None."""
    model = compiled(SimCLR, size, "resnet18", micro_batch_size=micro)
    before, images = peak(), random_images(batch, size)
    began = time.perf_counter()
    with fast_layers(model):
        loss = float(model.train_on_batch(images)[0])
    duration = time.perf_counter() - began
    kind = f"micro-batches of {micro}" if micro else "one piece"
    print(
        f"{keras.backend.backend():10} {size:3} px: batch {batch} in {kind}, "
        f"peak {peak() / 1e9:.2f} GB ({before / 1e9:.2f} before), {duration:.1f} s, loss {loss:.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--micro", type=int, default=128)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", help="name of a network, instead of the small ResNet")
    parser.add_argument("--memory", action="store_true", help="one step of ResNet-18")
    parser.add_argument("--plain", action="store_true", help="with --memory: no micro-batches")
    options = parser.parse_args()
    if options.memory:
        micro_batch_size = None if options.plain else options.micro
        measure_memory(options.batch, micro_batch_size, options.size)
    else:
        compare(options.batch, options.micro, options.size, options.rounds, options.network)
