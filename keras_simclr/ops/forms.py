"""The form of a computation: that for CPUs or that for GPUs."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

from keras_simclr import distribution

_chosen: contextvars.ContextVar[bool | None] = contextvars.ContextVar("is_for_gpu", default=None)


def for_gpu() -> bool:
    """Return whether to compute in the form for GPUs: at once, without waiting for the host.

    On a CPU, chunks that fit into the cache are computed one after another, and work that no image
    needs is skipped. A GPU would wait for the host at every chunk and every branch, so it computes
    the whole batch at once, and masks work instead of skipping it. The results are the same, but
    for the steps of Muon, which it computes in bfloat16.
    """
    chosen = _chosen.get()
    return _has_accelerator() if chosen is None else chosen


@functools.cache
def _has_accelerator():
    return distribution.has_accelerator()


@contextlib.contextmanager
def form(device: str) -> Iterator[None]:
    """Choose the form for a device, "cpu" or "gpu", whatever runs it, in a context."""
    token = _chosen.set(device == "gpu")
    try:
        yield
    finally:
        _chosen.reset(token)
