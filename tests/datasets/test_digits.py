import numpy as np
import pytest
import sklearn.datasets

from keras_simclr.datasets import load_digits


def test_the_split_is_fixed():
    for one, other in zip(load_digits(8), load_digits(8), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("size", [8, 17, 32])
def test_images_are_bytes_of_one_channel(size):
    (x_train, _), (x_test, _) = load_digits(size)
    assert x_train.shape == (1347, size, size, 1)
    assert x_test.shape == (450, size, size, 1)
    assert x_train.dtype == x_test.dtype == "uint8"
    assert x_train.min() == 0 and x_train.max() == 255


def test_every_digit_appears_once_with_its_label():
    train, test = load_digits(8)
    ours = [np.column_stack([x.reshape(len(x), 64), y]) for x, y in (train, test)]
    original = sklearn.datasets.load_digits()
    theirs = np.column_stack([(original.data * 15.9375).round(), original.target])
    assert sorted(np.concatenate(ours).tolist()) == sorted(theirs.tolist())


def test_both_parts_have_the_same_proportion_of_each_class():
    (_, y_train), (_, y_test) = load_digits(8)
    assert y_train.dtype == y_test.dtype == "int64"
    np.testing.assert_allclose(np.bincount(y_test) / np.bincount(y_train), 1 / 3, atol=0.02)


def test_resizing_keeps_the_brightness():
    small, large = load_digits(8)[0][0], load_digits(32)[0][0]
    np.testing.assert_allclose(large.mean(axis=(1, 2, 3)), small.mean(axis=(1, 2, 3)), atol=4)
    quarters = large.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    assert np.corrcoef(quarters.ravel(), small.ravel())[0, 1] > 0.97


def test_a_size_below_the_original_is_refused():
    with pytest.raises(ValueError, match="at least 8.*Received: image_size=7"):
        load_digits(7)
