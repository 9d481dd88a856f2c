import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr.layers import SimCLRAugmenter, TwoAugmenters, check_augmenter

EXPECTED = ["shape", "range", "steps", "draws", "unchanged"]


class Plain(layers.Layer):
    """A layer from a function of (pictures, seed generator)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.generator = keras.random.SeedGenerator(1)

    def call(self, images):
        return self.function(images, self.generator)


def brighter(images, generator):
    """Make each picture brighter or darker by itself."""
    factor = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=generator)
    return ops.clip(images * factor, 0, 255)


def failed(augmenter, images, **arguments):
    """Return what an augmenter fails in, and check that sentences are sentences."""
    findings = check_augmenter(augmenter, images, **arguments)
    assert all(sentence.endswith((".", "?")) for _, sentence in findings)
    return [name for name, (passed, _) in zip(EXPECTED, findings, strict=False) if not passed]


@pytest.mark.parametrize(
    "augmenter",
    [
        SimCLRAugmenter(12, seed=1),
        TwoAugmenters(SimCLRAugmenter(12, seed=1), SimCLRAugmenter(12, blur=1.0, seed=2)),
        Plain(brighter),
        keras.Sequential([layers.RandomFlip(seed=1)]),
    ],
    ids=lambda augmenter: type(augmenter).__name__,
)
def test_a_sound_augmenter_passes(augmenter, pictures):
    assert failed(augmenter, pictures) == []


def test_one_draw_for_a_whole_batch_is_found(pictures):
    assert failed(layers.RandomCrop(9, 9, seed=1), pictures) == ["draws"]


def test_two_augmenters_of_one_draw_each_are_found(pictures):
    both = TwoAugmenters(layers.RandomCrop(9, 9, seed=1), layers.RandomCrop(9, 9, seed=2))
    assert failed(both, pictures) == ["draws"]


def test_an_augmenter_that_does_nothing_is_found(pictures):
    assert failed(layers.Rescaling(1.0), pictures) == ["steps", "draws"]


def test_the_same_draws_in_every_step_are_found(pictures):
    drawn = np.random.default_rng(0).uniform(size=(128, 1, 1, 1)).astype("float32")
    frozen = Plain(lambda images, _: images * ops.convert_to_tensor(drawn))
    assert failed(frozen, pictures) == ["steps"]


def test_values_out_of_range_are_found(pictures):
    too_bright = Plain(lambda images, generator: brighter(images, generator) * 2)
    assert failed(too_bright, pictures) == ["range"]


def test_values_that_are_no_numbers_are_found(pictures):
    broken = Plain(lambda images, generator: brighter(images, generator) * np.float32("nan"))
    assert "range" in failed(broken, pictures)


def test_the_range_may_be_given(pictures):
    scaled = Plain(lambda images, generator: brighter(images, generator) / 255)
    assert failed(scaled, pictures, value_range=(0, 1)) == []
    assert failed(Plain(brighter), pictures, value_range=(0, 1)) == ["range"]


def test_views_that_are_no_pictures_are_found_before_all_else(pictures):
    findings = check_augmenter(layers.Flatten(), pictures)
    assert [passed for passed, _ in findings] == [False]
    assert "(128, 1848)" in findings[0].sentence


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="only PyTorch can change a tensor")
def test_pictures_changed_in_place_are_found(pictures):
    factors = brighter(ops.ones((128, 1, 1, 1)), keras.random.SeedGenerator(1))
    assert "unchanged" in failed(Plain(lambda images, _: images.mul_(factors)), pictures)


def test_a_picture_without_its_batch_is_refused():
    with pytest.raises(ValueError, match=r"Received: shape=\(8, 8, 3\)"):
        check_augmenter(SimCLRAugmenter(), np.zeros((8, 8, 3)))
