"""Images that stay on the GPU, in the form for GPUs on the CPU."""

import keras
import numpy as np
import pytest

from keras_simclr import LARS
from keras_simclr.data.prepare import prepare_training_data
from keras_simclr.ops import resident
from keras_simclr.ops.forms import form

READS_TENSORS = keras.backend.backend() != "tensorflow"


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (20, 6, 5, 3)).astype("uint8")


def prepared(images, device):
    with form(device):
        return prepare_training_data(images, None, (0, 255), batch_size=8, seed=1).data


def test_batches_from_the_gpu_are_those_from_the_host(images):
    on_host, on_gpu = (prepared(images, device) for device in ("cpu", "gpu"))
    assert on_host.resident is None
    assert (on_gpu.resident is not None) == READS_TENSORS
    for epoch in range(2):
        for data in (on_host, on_gpu):
            data.start_epoch(epoch)
        for index in range(len(on_gpu)):
            found = on_gpu[index][0]
            assert keras.ops.is_tensor(found) == READS_TENSORS
            assert keras.backend.standardize_dtype(found.dtype) == "uint8"
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), on_host[index][0])


@pytest.mark.parametrize("case", ["too large", "float32"])
def test_other_images_are_read_from_the_host(case, images, monkeypatch):
    if case == "too large":
        monkeypatch.setattr(resident, "_free_memory", lambda: 3.9 * images.nbytes)
    given = images.astype("float32") if case == "float32" else images
    assert prepared(given, "gpu").resident is None


def test_a_fit_on_images_on_the_gpu_is_that_on_images_on_the_host(make_model, images):
    losses = []
    for device in ("cpu", "gpu"):
        with form(device):
            model = make_model()
            model.compile(LARS(0.1))
            history = model.fit(images, batch_size=8, epochs=2, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
