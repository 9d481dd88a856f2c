"""What a process still holds after many fits and many models."""

import gc
import weakref

import keras
import numpy as np
import pytest

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3)).astype("uint8")
FEW = 1000  # objects; the graph of a step on TensorFlow has ten thousand


def count():
    gc.collect()
    return len(gc.get_objects())


def held_per_call(function):
    """Return how many objects one more call of a function keeps alive."""
    for _ in range(2):
        function()
    before = count()
    for _ in range(3):
        function()
    return (count() - before) / 3


@pytest.fixture(params=[None, 2], ids=["whole batches", "micro-batches"])
def model(request, make_model):
    return make_model(augmenter=keras.layers.Identity(), micro_batch_size=request.param)


def test_each_fit_of_a_model_keeps_next_to_nothing(model):
    assert held_per_call(lambda: model.fit(IMAGES, batch_size=4, verbose=0)) < FEW


def test_each_fine_tuning_keeps_next_to_nothing(pretrained):
    labels = np.arange(8) % 2
    options = {"epochs": 1, "steps_per_epoch": 1, "augmenter": None, "verbose": 0}
    assert held_per_call(lambda: pretrained.fine_tune(IMAGES, labels, **options)) < FEW


def test_a_model_that_was_fitted_is_freed(make_model):
    model = make_model(augmenter=keras.layers.Identity())
    model.fit(IMAGES, batch_size=4, verbose=0)
    model.predict(IMAGES, verbose=0)
    models = [weakref.ref(part) for part in (model, model.encoder, model.optimizer)]
    del model
    gc.collect()
    assert [part() for part in models] == [None, None, None]


@pytest.mark.parametrize("what", ["fit", "predict", "evaluate", "fine_tune"])
def test_images_that_were_used_are_freed(pretrained, what):
    images = IMAGES.copy()
    held = weakref.ref(images)
    given = {"fine_tune": {"y": np.arange(8) % 2, "epochs": 1, "steps_per_epoch": 1}}
    getattr(pretrained, what)(images, verbose=0, **given.get(what, {}))
    del images
    gc.collect()
    assert held() is None


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch alone runs layer by layer")
def test_a_step_leaves_no_tensors(model, uncollected):
    import torch

    def count_tensors(batch, logs):
        tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
        held.append(len(tensors))
        assert all(tensor.grad_fn is None for tensor in tensors)

    held = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=count_tensors)
    model.fit(IMAGES, batch_size=4, epochs=3, verbose=0, callbacks=[callback])
    assert len(set(held[2:])) == 1, held
