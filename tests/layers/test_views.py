import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr import SimCLRAugmenter
from keras_simclr.layers import TwoAugmenters
from keras_simclr.layers.views import draw_views
from keras_simclr.ops.compilation import compile_function

COLORS = {"scale": (1.0, 1.0), "aspect_ratio": (1.0, 1.0), "blur": 0.0, "color_distortion": 1.0}


def views(augmenter, images, **arguments):
    """Return the views of a step, compiled as in training, of shape (2, N, H, W, C)."""
    draw = compile_function(
        lambda images: draw_views(augmenter, images, 3, num_views=2, **arguments)
    )
    found = ops.convert_to_numpy(draw(ops.convert_to_tensor(images)))
    return found.reshape(2, -1, *found.shape[1:])


@pytest.fixture(params=["one augmenter", "two augmenters"])
def augmenter(request):
    one, two = (SimCLRAugmenter(seed=seed, **COLORS) for seed in (1, 2))
    return one if request.param == "one augmenter" else TwoAugmenters(one, two)


@pytest.mark.parametrize("size, count", [(5, 2), pytest.param(6, 3, marks=pytest.mark.once)])
def test_a_shard_of_any_size_has_the_views_of_the_whole_batch(augmenter, size, count, rng):
    images = rng.integers(0, 256, (size * count, 8, 8, 3)).astype("uint8")
    whole = views(augmenter, images)
    shards = [
        views(augmenter, images[size * i : size * (i + 1)], shard_id=i, num_shards=count)
        for i in range(count)
    ]
    np.testing.assert_allclose(np.concatenate(shards, axis=1), whole, atol=0.01)


def test_a_shard_of_unknown_size_has_the_views_of_the_whole_batch(augmenter, rng):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("on the other backends the size of a batch is known")
    import tensorflow as tf

    images = rng.integers(0, 256, (20, 8, 8, 3)).astype("uint8")
    whole = views(augmenter, images)
    draw = tf.function(
        lambda images: draw_views(augmenter, images, 3, num_views=2, shard_id=1, num_shards=2),
        input_signature=[tf.TensorSpec((None, 8, 8, 3), "uint8")],
    )
    found = draw(images[10:]).numpy().reshape(2, 10, 8, 8, 3)
    np.testing.assert_allclose(found, whole[:, 10:], atol=0.01)
