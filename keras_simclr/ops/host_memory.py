"""The memory that a step on a CPU frees, kept for the next one."""

import contextlib
import ctypes
import functools
import os

import keras

from keras_simclr.ops.forms import for_gpu

# Parameters of the GNU C library's `mallopt`.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = {TRIM_THRESHOLD: -1, MMAP_THRESHOLD: 2**30}
# What its thresholds grow to by themselves, until one of them is set.
USUAL = {TRIM_THRESHOLD: 2**26, MMAP_THRESHOLD: 2**25}
OF_THE_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

_depth = 0


@contextlib.contextmanager
def freed_memory_kept():
    """Let the process keep the memory that is freed in this context, and return it at the end.

    The GNU C library returns large tensors to the system as soon as they are freed, and the next
    step has to get all their pages again. A context within another one does nothing, nor does one
    on a GPU, with another C library, or if the user has set how memory is returned
    (`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_` or `GLIBC_TUNABLES`).
    """
    global _depth
    library = None if _depth or for_gpu() or any(map(os.environ.get, OF_THE_USER)) else _c_library()
    if library is not None:
        _set(library, KEPT)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if library is not None:
            _set(library, USUAL)
            library.malloc_trim(0)


@functools.cache
def _c_library():
    """Return the GNU C library, or None if this process has another one."""
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        return None
    if keras.backend.backend() == "tensorflow":
        _read_from_a_generator()
    return library


def _read_from_a_generator():
    """Let TensorFlow set the first threshold, which it does for the first dataset like this one."""
    import tensorflow as tf

    signature = tf.TensorSpec((), "int32")
    next(iter(tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=signature)))


def _set(library, thresholds):
    for parameter, value in thresholds.items():
        library.mallopt(parameter, value)
