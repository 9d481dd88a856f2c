"""Derived and random seeds."""

import contextlib
import random

import numpy as np


def derive_seed(*words):
    """Return a 31-bit seed derived from the integers `words`."""
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def draw_seed():
    """Draw a seed as Keras layers do: `keras.utils.set_random_seed` makes it repeatable."""
    return random.randint(1, 10**9)


@contextlib.contextmanager
def python_random(seed):
    """Seed Python's `random`, from which Keras draws the seeds of initializers, in a context."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
