"""Time and memory of loading a checkpoint of TensorFlow as a model and a classifier, on Linux.

    KERAS_BACKEND=torch python benchmarks/loading.py CHECKPOINT

The memory is the peak above what the process held before, with TensorFlow loaded and a first model
built.
"""

import sys
import time
from pathlib import Path

import keras
from memory_use import MIB, peak, reset_peak

from keras_simclr import SimCLR
from keras_simclr.checkpoints import load_arrays
from keras_simclr.models import load_checkpoint


def measure(folder):
    """Print the seconds, and the peak as a multiple of the size of the files of weights."""
    size = sum(path.stat().st_size for path in Path(folder).rglob("*.data-*"))
    load_arrays(folder, lambda name: False)
    SimCLR("resnet18").build((None, 32, 32, 3))
    reset_peak()
    before, began = peak(), time.perf_counter()
    load_checkpoint(folder, allow_supervised=True)
    seconds = time.perf_counter() - began
    print(
        f"{keras.backend.backend()} {size / MIB:.0f} MiB: {seconds:.1f} s, "
        f"peak {(peak() - before) / size:.2f} times the file"
    )


if __name__ == "__main__":
    measure(sys.argv[1])
