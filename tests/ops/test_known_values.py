"""On PyTorch, a step for a GPU never waits: nothing is read from it or copied to it."""

import collections
import contextlib

import keras
import numpy as np
import pytest

from keras_simclr.layers.presets import IMAGENET
from keras_simclr.ops.forms import form
from keras_simclr.ops.known_values import counting, known_value
from keras_simclr.optimizers import LARS, ConvMuon, warmup_cosine

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="on the other backends a GPU runs whole programs"
)
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "_unique2")


@pytest.fixture
def watched(monkeypatch):
    """Return a context, and a count of what waits in it, apart from what is computed on the CPU."""
    from torch.utils._python_dispatch import TorchDispatchMode

    on_cpu, device, found = [], keras.device, collections.Counter()

    @contextlib.contextmanager
    def remembered(name):
        on_cpu.append(name)
        with device(name):
            yield
        on_cpu.pop()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            name = function.overloadpacket.__name__
            by_masks = name in ("index", "index_put", "index_put_")
            masks = [a for a in args[1] if a is not None] if by_masks else []
            if not on_cpu and (name in WAITING or any("bool" in str(m.dtype) for m in masks)):
                found[name] += 1
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(keras, "device", remembered)
    return Watch(), found


class DuringSecondStep(keras.callbacks.Callback):
    def __init__(self, context):
        super().__init__()
        self.context = context

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            self.context.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.context.__exit__(None, None, None)


@pytest.mark.parametrize("kind", [keras.optimizers.AdamW, ConvMuon])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_step_of_fit_waits_for_nothing_on_a_gpu(
    device, kind, watched, make_model, labeled_images
):
    from keras_simclr import SimCLRAugmenter

    watch, found = watched
    model = make_model(augmenter=SimCLRAugmenter(**{**IMAGENET, "strength": 1.0}, seed=2))
    model.compile(kind(warmup_cosine(0.01, 9, 2), weight_decay=0.1))
    with form(device):
        model.fit(labeled_images[0], batch_size=8, verbose=0, callbacks=[DuringSecondStep(watch)])
    assert bool(found) == (device == "cpu"), found


@pytest.mark.parametrize("optimizer, tolerance", [("lars", 1e-4), ("auto", 1e-3)])
def test_training_in_the_form_for_a_gpu_has_the_same_losses(
    optimizer, tolerance, make_model, labeled_images
):
    losses = []
    for device in ("cpu", "gpu"):
        model = make_model(augmenter=None)
        model.compile(LARS(0.1) if optimizer == "lars" else optimizer)
        with form(device):
            history = model.fit(labeled_images[0], batch_size=8, epochs=3, verbose=0)
        losses.append(history.history["loss"])
        assert int(model.optimizer.iterations) == 9
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)  # "auto" is Muon, in bfloat16


def test_a_value_is_read_again_after_it_was_assigned():
    variable = keras.Variable(3, trainable=False, dtype="int32")
    with form("gpu"):
        assert int(known_value(variable)) == 3
        variable.assign(8)
        assert int(known_value(variable)) == 8


def test_a_counter_stays_known():
    variable = keras.Variable(3, trainable=False, dtype="int32")
    with form("gpu"):
        with counting(variable):
            variable.assign_add(1)
        variable.value.data = variable.value.data * 0  # as nobody writes: what is known is used
        assert int(known_value(variable)) == 4
