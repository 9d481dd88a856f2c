"""Functions that PyTorch compiles into few kernels; here for the CPU, if there is a compiler."""

import shutil
import types

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr import SimCLRAugmenter
from keras_simclr.layers import RandomGrayscale
from keras_simclr.ops import chunking, fusion
from keras_simclr.ops.compilation import uncompiled
from keras_simclr.ops.forms import form

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch compiles"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch needs a compiler"),
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),  # in PyTorch's compiler
]


@pytest.fixture
def fused_on_cpu(monkeypatch):
    """Let functions be compiled for the CPU too; the test sees whether that failed."""
    state = {"failed": False}
    monkeypatch.setattr(fusion, "_state", state)
    monkeypatch.setattr(chunking, "can_fuse", lambda tensor: not state["failed"])
    with form("gpu"):
        yield state


def test_compiled_views_equal_those_of_single_operations(fused_on_cpu, rng):
    images = rng.integers(0, 256, (8, 40, 40, 3), "uint8")
    augmenter = SimCLRAugmenter(24, blur=0.5, seed=0)
    parameters = augmenter.sample(8, 40, 40)
    found = ops.convert_to_numpy(augmenter.apply(images, parameters))
    fused_on_cpu["failed"] = True
    expected = ops.convert_to_numpy(augmenter.apply(images, parameters))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert expected.std() > 10


def test_compiled_views_are_contiguous_whatever_the_order_in_memory(fused_on_cpu, rng):
    layer = RandomGrayscale(seed=0)
    found = layer.apply(rng.normal(size=(4, 6, 5, 3)).astype("float32"), layer.sample(4, 6, 5))
    assert found.is_contiguous() and not fused_on_cpu["failed"]


def test_large_batches_are_compiled_in_chunks_of_one_size(fused_on_cpu, monkeypatch):
    sizes = []
    monkeypatch.setattr(chunking, "FUSED_VALUES", 4 * 12)
    monkeypatch.setattr(
        chunking, "fuse", lambda function, *rows: sizes.append(len(rows[0])) or function(*rows)
    )
    images = np.arange(9 * 12, dtype="float32").reshape(9, 2, 2, 3)
    found = chunking.map_chunks(lambda x, factor: x * factor, images, ops.full((9, 1, 1, 1), 2), 12)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), 2 * images)
    assert sizes == [3, 3, 3]


def test_without_a_compiler_the_function_runs_as_it_is(fused_on_cpu):
    import torch

    def double(x):
        return torch.sin(x) * 2

    no_compiler = {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    with torch._inductor.config.patch(no_compiler):
        with pytest.warns(UserWarning, match="cannot compile the views.*no-such-compiler"):
            assert fusion.fuse(double, ops.zeros((2,))).tolist() == [0.0, 0.0]
    assert fused_on_cpu["failed"]


def test_mistakes_in_the_function_are_raised(fused_on_cpu):
    def mistake(x):
        raise KeyError("mistake")

    with pytest.raises(KeyError, match="mistake"):
        fusion.fuse(mistake, ops.zeros((2,)))
    assert not fused_on_cpu["failed"]


def test_only_functions_on_a_gpu_are_compiled():
    on_gpu, on_cpu = (types.SimpleNamespace(is_cuda=is_cuda) for is_cuda in (True, False))
    assert not fusion.can_fuse(on_gpu)
    with form("gpu"):
        assert fusion.can_fuse(on_gpu) and not fusion.can_fuse(on_cpu)
        with uncompiled():
            assert not fusion.can_fuse(on_gpu)
