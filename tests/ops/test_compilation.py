import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr.ops.compilation import compile_function, is_compiling


def test_a_compiled_function_returns_the_same_result():
    function = compile_function(lambda x, y: (x + y, x * y))
    total, product = function(ops.ones(3), 2.0 * ops.ones(3))
    np.testing.assert_array_equal(ops.convert_to_numpy(total), 3.0)
    np.testing.assert_array_equal(ops.convert_to_numpy(product), 2.0)


def test_a_compiled_function_accepts_other_shapes():
    function = compile_function(lambda x: ops.sum(x))
    assert [float(function(ops.ones(size))) for size in (2, 5)] == [2.0, 5.0]


def test_eager_tensors_are_not_being_compiled():
    assert not is_compiling(ops.ones(3))


def test_tensors_of_a_compiled_function_are_being_compiled():
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch runs everything eagerly")
    seen = []
    compile_function(lambda x: seen.append(is_compiling(x)) or x)(ops.ones(3))
    assert seen == [True]
