"""Images of sizes that are not known when a function is traced, or that differ between batches."""

import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    CenterCropAndResize,
    RandomColorDistortion,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    RandomRotate90,
    RandomSolarize,
    SimCLRAugmenter,
    TwoAugmenters,
)
from keras_simclr.layers.views import draw_views, view_function

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has unknown sizes"
)
CUSTOM = [RandomSolarize(0.5, seed=3), RandomRotate90(seed=4)]
MAKE = {
    "augmenter": lambda: SimCLRAugmenter((36, 40), seed=1),
    "custom": lambda: SimCLRAugmenter(20, custom=CUSTOM, seed=1),
    "crop": lambda: RandomResizedCrop((20, 24), (0.1, 0.7), horizontal_flip=0.5, seed=1),
    "bilinear crop": lambda: RandomResizedCrop(20, interpolation="bilinear", seed=1),
    "color distortion": lambda: RandomColorDistortion(seed=1),
    "grayscale": lambda: RandomGrayscale(0.5, seed=1),
    "two": lambda: TwoAugmenters(SimCLRAugmenter(20, seed=1), SimCLRAugmenter(20, seed=2)),
}
SIZES = [(28, 22), (36, 44), (64, 31)]


def batch(height, width):
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, size=(5, height // 2 + 1, width // 2 + 1, 3))
    return coarse.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width].astype("uint8")


def traced(augmenter, **options):
    """Return a function from images of any size to their views in step 3, and its output shape."""
    import tensorflow as tf

    shape = tf.TensorSpec((None, None, None, 3), tf.uint8)
    function = tf.function(
        lambda images: draw_views(augmenter, images, 3, num_views=2), [shape], **options
    )
    return function, tuple(function.get_concrete_function().structured_outputs.shape)


@only_tensorflow
@pytest.mark.parametrize(
    "kind", ["augmenter", "crop", "bilinear crop", "color distortion", "grayscale"]
)
def test_views_of_images_of_unknown_size_are_those_of_a_static_size(kind):
    augmenter = MAKE[kind]()
    function, _ = traced(augmenter)
    for size in SIZES:
        images = batch(*size)
        expected = draw_views(augmenter, images, 3, num_views=2)
        np.testing.assert_allclose(function(images), expected, atol=5e-3)


@only_tensorflow
def test_xla_compiles_views_of_images_of_unknown_size():
    import tensorflow as tf

    crop = MAKE["crop"]()
    function, _ = traced(crop, jit_compile=True)
    # XLA draws other random numbers, so the static function is compiled by it too.
    static = tf.function(lambda x: draw_views(crop, x, 3, num_views=2), jit_compile=True)
    images = tf.constant(batch(*SIZES[0]))
    np.testing.assert_allclose(function(images), static(images), atol=2e-3)


@only_tensorflow
@pytest.mark.parametrize("kind, size", [("augmenter", (36, 40)), ("custom", (20, 20))])
def test_the_size_of_the_views_is_static(kind, size):
    assert traced(MAKE[kind]())[1] == (None, *size, 3)


@only_tensorflow
def test_without_training_whole_images_of_unknown_size_are_resized():
    import tensorflow as tf

    crop = RandomResizedCrop(20)
    shape = tf.TensorSpec((None, None, None, 3), tf.uint8)
    function = tf.function(lambda images: crop(images, training=False), [shape])
    for size in SIZES:
        images = batch(*size)
        np.testing.assert_allclose(function(images), crop(images, training=False), atol=2e-3)


NEED_A_SIZE = {
    "augmenter": SimCLRAugmenter,
    "crop": RandomResizedCrop,
    "antialias": lambda: RandomResizedCrop(20, antialias=True),
    "blur": lambda: RandomGaussianBlur(1.0),
    "rotate": RandomRotate90,
}


@only_tensorflow
@pytest.mark.parametrize("kind", NEED_A_SIZE)
def test_a_layer_that_needs_a_static_size_says_so(kind):
    with pytest.raises(ValueError, match=r"Pass `image_size` .*`tf.ensure_shape`"):
        traced(NEED_A_SIZE[kind]())


@only_tensorflow
def test_a_center_crop_needs_a_static_size():
    import tensorflow as tf

    crop = CenterCropAndResize(20)
    with pytest.raises(ValueError, match=r"Pass `image_size` .*`tf.ensure_shape`"):
        tf.function(crop, [tf.TensorSpec((None, None, None, 3))]).get_concrete_function()


@pytest.mark.parametrize("kind", ["custom", "crop", "two"])
def test_batches_of_two_sizes_have_views_one_after_the_other(kind):
    augmenter = MAKE[kind]()
    views_of = view_function(augmenter)
    for size in SIZES[:2]:
        images = batch(*size)[:4]
        expected = keras.ops.convert_to_numpy(draw_views(augmenter, images, 3))
        np.testing.assert_allclose(views_of(images, 3), expected, atol=5e-3)


def test_an_augmenter_without_image_size_has_views_of_two_sizes():
    augmenter = SimCLRAugmenter(color_distortion=0.0, blur=0.0, seed=1)
    shapes = [tuple(augmenter(batch(*size)).shape) for size in SIZES[:2]]
    assert shapes == [(5, 28, 22, 3), (5, 36, 44, 3)]
