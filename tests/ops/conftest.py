"""Fixtures of the tests of kernels."""

import keras
import pytest
from keras import ops

from keras_simclr.ops.compilation import compile_function


def eager(function):
    return function


@pytest.fixture(params=[eager, compile_function], ids=["eager", "compiled"])
def execute(request):
    """Return a function that runs another one, eager or compiled, and returns NumPy arrays."""

    def run(function, *arrays):
        tensors = [ops.convert_to_tensor(array) for array in arrays]
        results = request.param(function)(*tensors)
        return keras.tree.map_structure(ops.convert_to_numpy, results)

    return run
