"""Derived and random seeds, and the states of random generators."""

import contextlib
import random
from typing import Any

import keras
import numpy as np

from keras_simclr.ops.known_values import host_decides, on_host


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


def uniform(shape: tuple, seed: keras.random.SeedGenerator) -> Any:
    """Draw float32 numbers from [0, 1), as `keras.random.uniform` does."""
    if not host_decides():
        return keras.random.uniform(shape, dtype="float32", seed=seed)
    import torch

    with on_host():
        seed = int(sum(seed.next())) & 0xFFFFFFFF  # as Keras combines the two numbers
    numbers = keras.ops.zeros(shape, dtype="float32")
    return numbers.uniform_(generator=torch.Generator(numbers.device).manual_seed(seed))


def random_states():
    """Return the states of the global generators of Python, NumPy and PyTorch, as arrays."""
    kind, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    states = {
        "python": np.array([kind, *words], "int64"),
        "python_gauss": np.array([] if gauss is None else [gauss], "float64"),
        "numpy": np.array([position, *keys], "int64"),
        "numpy_gauss": np.array([cached] if has_gauss else [], "float64"),
    }
    if keras.backend.backend() == "torch":
        import torch

        states["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_available():
            states["cuda"] = torch.stack(torch.cuda.get_rng_state_all()).numpy()
    return states


def set_random_states(states):
    """Set the global generators to those of `random_states` that are in `states`."""
    if "python" in states:
        kind, *words = states["python"].tolist()
        gauss = states["python_gauss"].tolist()
        random.setstate((kind, tuple(words), *(gauss or [None])))
    if "numpy" in states:
        position, *keys = states["numpy"].tolist()
        cached = states["numpy_gauss"].tolist()
        np.random.set_state(("MT19937", keys, position, len(cached), *(cached or [0.0])))
    if "torch" in states:
        import torch

        torch.set_rng_state(torch.from_numpy(states["torch"]))
        if "cuda" in states:
            torch.cuda.set_rng_state_all(list(torch.from_numpy(states["cuda"])))
