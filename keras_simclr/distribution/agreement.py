"""Agreement between processes."""

import contextlib

from keras_simclr import distribution


def num_processes():
    """Return the number of processes. All of them must call this."""
    return len(distribution.process_all_gather(0))


def broadcast_number(number):
    """Return the first process's value of `number`."""
    return distribution.process_all_gather(number)[0]


def same_on_all_processes(number):
    """Return whether `number` is the same in all processes."""
    return len(set(distribution.process_all_gather(number))) == 1


@contextlib.contextmanager
def failing_together():
    """Let an error in the context, in one process, be an error in all.

    All processes must enter the context, in which they do not communicate.

    Raises:
        RuntimeError: If there was an error in another process only.
    """
    try:
        yield
    except BaseException:
        distribution.process_all_gather(1)
        raise
    failed = distribution.process_all_gather(0)
    if any(failed):
        raise RuntimeError(
            "All processes must be able to continue. Received: an error in process "
            f"{failed.index(1)}, which its own output describes. Fix it, and restart all processes."
        )
