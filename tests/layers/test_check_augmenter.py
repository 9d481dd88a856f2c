import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr.layers import SimCLRAugmenter, TwoAugmenters, check_augmenter

EXPECTED = ["shape", "range", "steps", "draws", "unchanged"]


class Plain(layers.Layer):
    """A layer from a function of (images, seed generator)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.generator = keras.random.SeedGenerator(1)

    def call(self, images):
        return self.function(images, self.generator)


def brighter(images, generator):
    """Multiply each image by its own factor."""
    factor = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=generator)
    return ops.clip(images * factor, 0, 255)


def failed(augmenter, images, **arguments):
    """Return the checks that an augmenter fails; each must report a full sentence."""
    findings = check_augmenter(augmenter, images, **arguments)
    assert all(sentence.endswith((".", "?")) for _, sentence in findings)
    return [name for name, (passed, _) in zip(EXPECTED, findings, strict=False) if not passed]


@pytest.mark.parametrize(
    "augmenter",
    [
        SimCLRAugmenter(12, seed=1),
        TwoAugmenters(SimCLRAugmenter(12, seed=1), SimCLRAugmenter(12, blur=1.0, seed=2)),
        TwoAugmenters(SimCLRAugmenter(12, seed=1), SimCLRAugmenter(12, seed=2), num_views=3),
        Plain(brighter),
        keras.Sequential([layers.RandomFlip(seed=1)]),
    ],
    ids=lambda augmenter: type(augmenter).__name__,
)
def test_a_sound_augmenter_passes(augmenter, images):
    assert failed(augmenter, images) == []


def test_one_draw_for_a_whole_batch_is_reported(images):
    assert failed(layers.RandomCrop(9, 9, seed=1), images) == ["draws"]


def test_two_augmenters_with_one_draw_each_are_reported(images):
    both = TwoAugmenters(layers.RandomCrop(9, 9, seed=1), layers.RandomCrop(9, 9, seed=2))
    assert failed(both, images) == ["draws"]


def test_an_augmenter_that_does_nothing_is_reported(images):
    assert failed(layers.Rescaling(1.0), images) == ["steps", "draws"]


def test_the_same_draws_in_every_step_are_reported(images):
    drawn = np.random.default_rng(0).uniform(size=(128, 1, 1, 1)).astype("float32")
    frozen = Plain(lambda images, _: images * ops.convert_to_tensor(drawn))
    assert failed(frozen, images) == ["steps"]


def test_values_out_of_range_are_reported(images):
    too_bright = Plain(lambda images, generator: brighter(images, generator) * 2)
    assert failed(too_bright, images) == ["range"]


def test_values_that_are_not_finite_are_reported(images):
    broken = Plain(lambda images, generator: brighter(images, generator) * np.float32("nan"))
    assert "range" in failed(broken, images)


def test_the_value_range_may_be_given(images):
    scaled = Plain(lambda images, generator: brighter(images, generator) / 255)
    assert failed(scaled, images, value_range=(0, 1)) == []
    assert failed(Plain(brighter), images, value_range=(0, 1)) == ["range"]


def test_views_that_are_not_images_are_reported_first(images):
    findings = check_augmenter(layers.Flatten(), images)
    assert [passed for passed, _ in findings] == [False]
    assert "(128, 1848)" in findings[0].sentence


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="only PyTorch can change a tensor")
def test_images_changed_in_place_are_reported(images):
    factors = brighter(ops.ones((128, 1, 1, 1)), keras.random.SeedGenerator(1))
    assert "unchanged" in failed(Plain(lambda images, _: images.mul_(factors)), images)


def test_an_image_without_a_batch_axis_raises():
    with pytest.raises(ValueError, match=r"Received: shape=\(8, 8, 3\)"):
        check_augmenter(SimCLRAugmenter(), np.zeros((8, 8, 3)))
