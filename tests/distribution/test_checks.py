"""The means of another backend to use many devices are refused."""

import keras
import pytest

from keras_simclr import SimCLR
from keras_simclr.distribution import check_strategy


def only_off(backend):
    return pytest.mark.skipif(
        keras.backend.backend() == backend, reason=f"{backend} is the backend that it is for"
    )


@only_off("tensorflow")
def test_a_strategy_of_tensorflow():
    import tensorflow as tf

    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        with pytest.raises(ValueError, match="`tf.distribute` is active, but has no effect"):
            SimCLR("resnet18")


@only_off("jax")
def test_a_distribution_of_jax(monkeypatch):
    monkeypatch.setattr(keras.distribution, "distribution", object)
    with pytest.raises(ValueError, match="`keras.distribution` is active, but has no effect"):
        SimCLR("resnet18")


@only_off("torch")
def test_torchrun(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ValueError, match="or KERAS_BACKEND=torch"):
        SimCLR("resnet18")


def test_one_device_is_fine():
    check_strategy()
