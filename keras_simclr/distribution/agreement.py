"""Agreement between processes."""

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
