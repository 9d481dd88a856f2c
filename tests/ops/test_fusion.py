"""Functions that PyTorch compiles into few kernels; here for the CPU, if there is a compiler."""

import functools
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


ON_GPU, ON_CPU = (
    [types.SimpleNamespace(is_cuda=is_cuda, requires_grad=False)] for is_cuda in (True, False)
)


@pytest.fixture
def fused(monkeypatch):
    """Compile for the CPU what is compiled for a GPU; return the sizes of the chunks."""
    sizes, fuse, can_fuse = [], fusion.fuse, fusion.can_fuse

    def recorded(function, images, parameters):
        sizes.append(len(images))
        return fuse(function, images, parameters)

    monkeypatch.setattr(fusion, "_state", {"failed": False})
    monkeypatch.setattr(chunking, "can_fuse", lambda tensors: can_fuse([*ON_GPU, *tensors]))
    monkeypatch.setattr(chunking, "fuse", recorded)
    with form("gpu"):
        yield sizes


@pytest.fixture
def never_compiled(monkeypatch):
    """Let `torch.compile` trace functions, but run them as they are."""
    import torch

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = fusion._compiled.__wrapped__()
    monkeypatch.setattr(fusion, "_compiled", lambda: compiled)


def variants():
    """Return how many variants of functions PyTorch has compiled so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def add_factor(images, factor):
    return images + factor


def test_compiled_views_equal_those_of_single_operations(fused, rng):
    images = rng.integers(0, 256, (8, 40, 40, 3), "uint8")
    augmenter = SimCLRAugmenter(24, blur=0.5, seed=0)
    parameters = augmenter.sample(8, 40, 40)
    found = ops.convert_to_numpy(augmenter.apply(images, parameters))
    assert fused == [8]
    with uncompiled():
        expected = ops.convert_to_numpy(augmenter.apply(images, parameters))
    assert fused == [8] and not fusion._state["failed"]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert expected.std() > 10


@pytest.mark.usefixtures("never_compiled")
def test_compiled_views_are_contiguous_whatever_the_order_in_memory(fused, rng):
    layer = RandomGrayscale(seed=0)
    found = layer.apply(rng.normal(size=(4, 6, 5, 3)).astype("float32"), layer.sample(4, 6, 5))
    assert found.is_contiguous() and fused == [4]


@pytest.mark.usefixtures("never_compiled")
def test_large_batches_are_compiled_in_few_chunks(fused, monkeypatch):
    monkeypatch.setattr(chunking, "FUSED_VALUES", 4 * 12)
    images = np.arange(10 * 12, dtype="float32").reshape(10, 2, 2, 3)
    found = chunking.map_chunks(add_factor, images, ops.full((10, 1, 1, 1), 2), 12)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), 2 + images)
    assert fused == [4, 4, 2]


@pytest.mark.usefixtures("never_compiled")
def test_strides_and_gradients_that_do_not_matter_compile_nothing(fused):
    import torch

    images, before = ops.ones((6, 2, 2, 3)), variants()
    for factor in (torch.ones(1).expand(6)[:, None, None, None], torch.ones(6, 1, 1, 1)):
        for gradients in (torch.no_grad(), torch.enable_grad()):
            with gradients:
                chunking.map_chunks(add_factor, images, factor, 12)
    assert variants() == before + 1 and len(fused) == 4


def test_functions_with_a_gradient_run_as_they_are(fused):
    factor = ops.ones((3, 1, 1, 1)).requires_grad_()
    chunking.map_chunks(add_factor, ops.ones((3, 2, 2, 3)), factor, 12).sum().backward()
    assert factor.grad.flatten().tolist() == [12.0] * 3 and fused == []


@pytest.mark.usefixtures("never_compiled")
def test_many_sizes_are_compiled(fused):
    before = variants()
    for count in range(20, 32):
        chunking.map_chunks(add_factor, ops.ones((count, 1, 1, 3)), ops.ones((count, 1, 1, 1)), 3)
    assert variants() == before + 12


@pytest.mark.usefixtures("never_compiled")
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_eager_steps_compile_nothing(run_eagerly, fused, make_model, labeled_images):
    model = make_model()
    model.compile("sgd", run_eagerly=run_eagerly)
    model.fit(labeled_images[0], batch_size=8, epochs=1, verbose=0)
    assert bool(fused) is not run_eagerly


def test_without_a_compiler_the_views_are_created_as_they_are(fused):
    import torch

    no_compiler = {"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}
    images, factor = ops.zeros((2, 4, 4, 3)), ops.ones((2, 1, 1, 1))
    with torch._inductor.config.patch(no_compiler):
        with pytest.warns(UserWarning, match="(?s)cannot compile the views.*no-such-compiler"):
            found = chunking.map_chunks(lambda x, y: torch.sin(x) + y, images, factor, 48)
    assert ops.convert_to_numpy(found).min() == 1.0
    assert not fusion.can_fuse(ON_GPU)


def test_mistakes_in_the_function_are_raised(fused):
    def mistake(images, parameters):
        raise KeyError("mistake")

    with pytest.raises(KeyError, match="mistake"):
        chunking.map_chunks(mistake, ops.zeros((2, 4, 4, 3)), ops.ones((2, 1, 1, 1)), 48)
    assert fusion.can_fuse(ON_GPU)


def test_running_out_of_memory_is_raised_as_such(fused, monkeypatch):
    import torch

    def exhausted(*arguments):
        try:
            raise torch.OutOfMemoryError("no memory")
        except torch.OutOfMemoryError as error:
            raise RuntimeError("compiling failed") from error

    monkeypatch.setattr(fusion, "_compiled", lambda: exhausted)
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        chunking.map_chunks(add_factor, ops.zeros((2, 4, 4, 3)), ops.ones((2, 1, 1, 1)), 48)
    assert fusion.can_fuse(ON_GPU)


def test_only_functions_on_a_gpu_are_compiled():
    assert not fusion.can_fuse(ON_GPU)
    with form("gpu"):
        assert fusion.can_fuse(ON_GPU) and not fusion.can_fuse(ON_CPU)
        with uncompiled():
            assert not fusion.can_fuse(ON_GPU)
