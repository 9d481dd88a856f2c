import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import NTXentLoss
from keras_simclr.ops.digest import digest
from keras_simclr.training.run_settings import config_of

pytestmark = pytest.mark.once


def test_a_lambda_is_described_without_a_warning():
    assert "<lambda>" in config_of(lambda z_a, z_b: 0.0)


def test_a_layer_with_a_lambda_is_described_without_a_warning():
    assert config_of(layers.Lambda(lambda images: images)) is not None


def test_names_that_keras_counts_up_do_not_matter():
    one, other = (keras.Sequential([layers.Conv2D(4, 3)]) for _ in range(2))
    assert one.name != other.name
    assert config_of(one) == config_of(other)


@pytest.mark.parametrize("other", [NTXentLoss(0.2), NTXentLoss(0.1, decoupled=True), None])
def test_other_settings_are_other_configs(other):
    assert config_of(NTXentLoss(0.1)) != config_of(other)


def test_what_cannot_be_saved_has_no_config():
    class NoConfig(layers.Layer):
        def __init__(self, width):
            super().__init__()

    assert config_of(NoConfig(object())) is None


def test_another_dtype_policy_is_another_config():
    one, other = (layers.Conv2D(4, 3, dtype=name) for name in ("float32", "mixed_float16"))
    assert config_of(one) != config_of(other)


def test_the_digest_depends_on_every_array():
    one, other = np.zeros(3), np.ones(3)
    assert digest(one, other) == digest(one.copy(), other.copy()) != digest(other, one)
