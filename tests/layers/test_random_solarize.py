import keras
import numpy as np
import pytest

from keras_simclr.layers import RandomSolarize


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_values_from_the_threshold_on_are_inverted():
    image = np.array([0, 50, 99, 101, 200, 255], "uint8").reshape(1, 1, 6, 1)
    found = numbers(RandomSolarize(1.0, threshold=100 / 255)(image))
    np.testing.assert_allclose(found.ravel(), [0, 50, 99, 154, 55, 0], atol=1e-3)


def test_the_threshold_is_a_share_of_the_value_range():
    image = np.array([-1.0, -0.6, -0.4, 1.0], "float32").reshape(1, 1, 4, 1)
    found = numbers(RandomSolarize(1.0, threshold=0.25, value_range=(-1, 1))(image))
    np.testing.assert_allclose(found.ravel(), [-1.0, -0.6, 0.4, -1.0], atol=1e-5)


def test_only_the_chosen_pictures_are_inverted(pictures):
    chosen = np.array([True, False, False, True, False])
    found = numbers(RandomSolarize(threshold=0.0).apply(pictures, chosen))
    np.testing.assert_allclose(found[chosen], 255.0 - pictures[chosen], atol=1e-3)
    np.testing.assert_allclose(found[~chosen], pictures[~chosen], atol=1e-3)


@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_as_many_pictures_are_chosen_as_asked_for(check_share, probability):
    layer = RandomSolarize(probability, seed=3)
    check_share(numbers(layer.sample(40_000, 8, 8)), probability)


def test_without_training_pictures_stay_as_they_are(pictures):
    found = numbers(RandomSolarize(1.0)(pictures, training=False))
    np.testing.assert_array_equal(found, pictures)


@pytest.mark.parametrize("name, value", [("probability", 1.01), ("threshold", -0.1)])
def test_a_wrong_argument_is_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must .*Received: {name}={value}"):
        RandomSolarize(**{name: value})
