import keras
import numpy as np
import pytest

from keras_simclr.layers import RandomQuarterTurn


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def square(pictures):
    return pictures[:, :22]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_pictures_are_turned_counterclockwise(turns, pictures):
    drawn = np.full(5, turns, "float32")
    found = numbers(RandomQuarterTurn().apply(square(pictures), drawn))
    np.testing.assert_allclose(found, np.rot90(square(pictures), turns, (1, 2)), atol=1e-3)


def test_each_picture_has_its_own_turn(pictures):
    drawn = np.array([3, 0, 1, 2, 1], "float32")
    found = numbers(RandomQuarterTurn().apply(square(pictures), drawn))
    for image, turns, picture in zip(found, drawn, square(pictures), strict=True):
        np.testing.assert_allclose(image, np.rot90(picture, int(turns)), atol=1e-3)


def test_all_turns_are_as_likely(check_share):
    drawn = numbers(RandomQuarterTurn(seed=3).sample(40_000, 8, 8))
    for turns in range(4):
        check_share(drawn == turns, 0.25)


def test_a_seed_makes_the_turns_repeatable(pictures):
    layer, again = RandomQuarterTurn(seed=3), RandomQuarterTurn(seed=3)
    first = numbers(layer(square(pictures)))
    np.testing.assert_array_equal(first, numbers(again(square(pictures))))
    assert np.abs(numbers(layer(square(pictures))) - first).max() > 10


def test_without_training_pictures_stay_as_they_are(pictures):
    found = numbers(RandomQuarterTurn()(square(pictures), training=False))
    np.testing.assert_array_equal(found, square(pictures))


def test_it_comes_back_from_its_config():
    layer = RandomQuarterTurn(value_range=(0, 1), seed=4)
    again = RandomQuarterTurn.from_config(layer.get_config())
    assert again.value_range == (0, 1)
    np.testing.assert_array_equal(numbers(layer.sample(50, 8, 8)), numbers(again.sample(50, 8, 8)))


def test_pictures_that_are_not_square_are_refused(pictures):
    with pytest.raises(ValueError, match=r"Only square .*Received: shape=\(5, 28, 22, 3\)"):
        RandomQuarterTurn()(pictures)
