"""Distribution strategies of another backend are refused."""

import keras
import pytest

from keras_simclr import SimCLR
from keras_simclr.distribution import check_strategy


def only_off(backend):
    return pytest.mark.skipif(
        keras.backend.backend() == backend, reason=f"{backend} is the backend that it is for"
    )


@only_off("tensorflow")
def test_a_tensorflow_strategy_is_refused_on_other_backends():
    import tensorflow as tf

    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        with pytest.raises(ValueError, match="`tf.distribute` is active, but has no effect"):
            SimCLR("resnet18")


@only_off("jax")
def test_a_jax_distribution_is_refused_on_other_backends(monkeypatch):
    monkeypatch.setattr(keras.distribution, "distribution", object)
    with pytest.raises(ValueError, match="`keras.distribution` is active, but has no effect"):
        SimCLR("resnet18")


@only_off("torch")
def test_torchrun_is_refused_on_other_backends(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ValueError, match="or KERAS_BACKEND=torch"):
        SimCLR("resnet18")


def test_one_device_is_accepted():
    check_strategy()
