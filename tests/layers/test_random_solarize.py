import keras
import numpy as np
import pytest

from keras_simclr.layers import RandomSolarize


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_values_from_the_threshold_up_are_inverted():
    image = np.array([0, 50, 99, 101, 200, 255], "uint8").reshape(1, 1, 6, 1)
    found = numbers(RandomSolarize(1.0, threshold=100 / 255)(image))
    np.testing.assert_allclose(found.ravel(), [0, 50, 99, 154, 55, 0], atol=1e-3)


def test_the_threshold_is_a_fraction_of_the_value_range():
    image = np.array([-1.0, -0.6, -0.4, 1.0], "float32").reshape(1, 1, 4, 1)
    found = numbers(RandomSolarize(1.0, threshold=0.25, value_range=(-1, 1))(image))
    np.testing.assert_allclose(found.ravel(), [-1.0, -0.6, 0.4, -1.0], atol=1e-5)


def test_only_the_selected_images_are_inverted(images):
    selected = np.array([True, False, False, True, False])
    found = numbers(RandomSolarize(threshold=0.0).apply(images, selected))
    np.testing.assert_allclose(found[selected], 255.0 - images[selected], atol=1e-3)
    np.testing.assert_allclose(found[~selected], images[~selected], atol=1e-3)


@pytest.mark.parametrize("factor", [0.2, 0.7])
def test_images_are_selected_with_the_probability_given(check_rate, factor):
    layer = RandomSolarize(factor, seed=3)
    check_rate(numbers(layer.sample(40_000, 8, 8)), factor)


def test_without_training_images_do_not_change(images):
    found = numbers(RandomSolarize(1.0)(images, training=False))
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("name, value", [("factor", 1.01), ("threshold", -0.1)])
def test_a_wrong_argument_raises(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must .*Received: {name}={value}"):
        RandomSolarize(**{name: value})
