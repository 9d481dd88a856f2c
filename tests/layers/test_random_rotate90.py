import keras
import numpy as np
import pytest

from keras_simclr.layers import RandomRotate90


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def square(images):
    return images[:, :22]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_images_are_rotated_counterclockwise(turns, images):
    drawn = np.full(5, turns, "float32")
    found = numbers(RandomRotate90().apply(square(images), drawn))
    np.testing.assert_allclose(found, np.rot90(square(images), turns, (1, 2)), atol=1e-3)


def test_each_image_has_its_own_rotation(images):
    drawn = np.array([3, 0, 1, 2, 1], "float32")
    found = numbers(RandomRotate90().apply(square(images), drawn))
    for view, turns, image in zip(found, drawn, square(images), strict=True):
        np.testing.assert_allclose(view, np.rot90(image, int(turns)), atol=1e-3)


def test_all_rotations_are_equally_likely(check_rate):
    drawn = numbers(RandomRotate90(seed=3).sample(40_000, 8, 8))
    for turns in range(4):
        check_rate(drawn == turns, 0.25)


def test_a_seed_makes_the_rotations_repeatable(images):
    layer, again = RandomRotate90(seed=3), RandomRotate90(seed=3)
    first = numbers(layer(square(images)))
    np.testing.assert_array_equal(first, numbers(again(square(images))))
    assert np.abs(numbers(layer(square(images))) - first).max() > 10


def test_without_training_images_do_not_change(images):
    found = numbers(RandomRotate90()(square(images), training=False))
    np.testing.assert_array_equal(found, square(images))


def test_it_is_restored_from_its_config():
    layer = RandomRotate90(value_range=(0, 1), seed=4)
    again = RandomRotate90.from_config(layer.get_config())
    assert again.value_range == (0, 1)
    np.testing.assert_array_equal(numbers(layer.sample(50, 8, 8)), numbers(again.sample(50, 8, 8)))


def test_images_that_are_not_square_raise(images):
    with pytest.raises(ValueError, match=r"Only square .*Received: shape=\(5, 28, 22, 3\)"):
        RandomRotate90()(images)
