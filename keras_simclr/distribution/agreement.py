"""What processes have in common."""

from keras_simclr import distribution


def agreed(number):
    """Return the number that the first process has."""
    return distribution.of_processes(number)[0]


def agree(number):
    """Tell whether all processes have the same number."""
    return len(set(distribution.of_processes(number))) == 1
