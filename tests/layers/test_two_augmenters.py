import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr.layers import RandomGrayscale, RandomSolarize, SimCLRAugmenter, TwoAugmenters


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_each_half_of_the_batch_has_its_augmenter(images):
    both = np.concatenate([images, images])
    augmenter = TwoAugmenters(RandomGrayscale(1.0, seed=1), RandomGrayscale(0.0, seed=2))
    first, second = np.split(numbers(augmenter(both, training=True)), 2)
    assert np.ptp(first, axis=-1).max() < 1e-3
    np.testing.assert_allclose(second, images, atol=1e-3)


def test_without_training_neither_half_changes(images):
    augmenter = TwoAugmenters(RandomGrayscale(1.0, seed=1), RandomGrayscale(1.0, seed=2))
    found = numbers(augmenter(images[:4], training=False))
    np.testing.assert_array_equal(found, images[:4])


def test_it_is_restored_from_its_config(images):
    augmenter = TwoAugmenters(RandomSolarize(0.5, seed=1), RandomGrayscale(0.5, seed=2))
    config = keras.saving.serialize_keras_object(augmenter)
    again = keras.saving.deserialize_keras_object(config)
    np.testing.assert_allclose(
        numbers(again(images[:4])), numbers(augmenter(images[:4])), atol=1e-3
    )


def test_the_same_seed_for_both_raises():
    with pytest.raises(ValueError, match="must not have the same seed"):
        TwoAugmenters(SimCLRAugmenter(seed=1), SimCLRAugmenter(blur=1.0, seed=1))


def test_the_same_seed_in_stock_layers_of_both_raises():
    one, other = (keras.Sequential([layers.RandomFlip(seed=1)]) for _ in range(2))
    with pytest.raises(ValueError, match="must not have the same seed"):
        TwoAugmenters(one, other)


def test_views_of_two_sizes_raise(images):
    augmenter = TwoAugmenters(SimCLRAugmenter(12, seed=1), SimCLRAugmenter((12, 14), seed=2))
    with pytest.raises(
        ValueError, match=r"the same size. Received: \(4, 12, 12, 3\) and \(4, 12, 1"
    ):
        augmenter(images[:4])
