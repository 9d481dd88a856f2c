import keras
import numpy as np
import pytest

from keras_simclr.layers import SimCLRAugmenter, check_augmenter, presets


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def drawn(size, **arguments):
    return SimCLRAugmenter(seed=21, **arguments).sample(16 * 500, size, size)


def test_the_default_follows_the_presets():
    assert len(presets.IMAGENET) == 7
    by_size = {96: presets.IMAGENET, 32: presets.CIFAR}
    for size, preset in by_size.items():
        default, given = drawn(size), drawn(size, **preset)
        leaves = zip(*map(keras.tree.flatten, (default, given)), strict=True)
        assert all(np.array_equal(numbers(a), numbers(b)) for a, b in leaves if a is not None)
        assert (default.blur is None) == (preset["blur"] == 0)


@pytest.mark.parametrize("name, channels", [("SMALL_GRAY", 1), ("MANY_CHANNELS", 7)])
def test_the_presets_create_views_of_their_images(name, channels):
    images = np.random.default_rng(2).integers(0, 256, (40, 24, 24, channels), dtype="uint8")
    augmenter = SimCLRAugmenter(**getattr(presets, name), seed=1)
    assert all(passed for passed, _ in check_augmenter(augmenter, images))
