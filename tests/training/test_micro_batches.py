"""Steps over micro-batches, beside steps over the whole batch."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import ProjectionHead, SimCLR, SimCLRAugmenter
from keras_simclr.layers import RandomSolarize
from keras_simclr.layers.presets import CROP_AND_FLIP

PAIRS, SIZE = 64, 12


def model_of(micro_batch_size, batch_norm=False, dropout=0.0, **arguments):
    keras.utils.set_random_seed(0)
    backbone = [layers.Rescaling(1 / 255), layers.Conv2D(8, 3, strides=2)]
    if batch_norm:
        backbone.append(layers.BatchNormalization(momentum=0.9))
    backbone.append(layers.Activation("tanh"))
    if dropout:
        backbone.append(layers.Dropout(dropout, seed=3))
    return SimCLR(
        keras.Sequential(backbone),
        projection_head=ProjectionHead(8, output_dim=8, batch_norm=False),
        micro_batch_size=micro_batch_size,
        seed=1,
        **arguments,
    )


def make_images(count=PAIRS):
    rng = np.random.default_rng(0)
    colors = rng.uniform(0, 200, (count, 1, 1, 3)) + rng.uniform(0, 55, (count, SIZE, SIZE, 3))
    return colors.astype("uint8")


def fitted(model, images=None, batch_size=PAIRS, epochs=1):
    """Return the history and, of each variable, the change that SGD with a rate of 1 made."""
    images = make_images() if images is None else images
    model.build((None, SIZE, SIZE, 3))
    model.compile(keras.optimizers.SGD(1.0), run_eagerly=False)
    before = [np.array(weight) for weight in model.get_weights()]
    history = model.fit(images, batch_size=batch_size, epochs=epochs, verbose=0).history
    changes = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
    return history, changes


def assert_close(found, expected, bound):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=bound * np.abs(other).max())


def plain_views():
    return layers.Rescaling(1.0)


def crops():
    """Return an augmenter that compiles faster than one with all transforms."""
    return SimCLRAugmenter(**CROP_AND_FLIP, seed=2)


@pytest.fixture(scope="module")
def whole():
    return fitted(model_of(None, augmenter=crops()))


@pytest.mark.parametrize("micro_batch_size", [16, 32, 64])
def test_the_gradient_is_that_of_the_whole_batch(micro_batch_size, whole):
    history, gradients = fitted(model_of(micro_batch_size, augmenter=crops()))
    assert history["loss"][0] == pytest.approx(whole[0]["loss"][0], rel=1e-5)
    assert history["contrastive_accuracy"] == whole[0]["contrastive_accuracy"]
    assert_close(gradients, whole[1], 1e-5)


def test_batch_norm_sees_one_micro_batch_after_the_other():
    model = model_of(16, batch_norm=True, augmenter=plain_views())
    images = make_images()
    fitted_before = model_of(None, batch_norm=True, augmenter=plain_views())
    fitted_before.build((None, SIZE, SIZE, 3))
    convolved = fitted_before.backbone.layers[1](images.astype("float32") / 255)
    expected = np.zeros(8)
    for part in np.split(keras.ops.convert_to_numpy(convolved), 4):
        expected = 0.9 * expected + 0.1 * part.mean((0, 1, 2))
    model.build((None, SIZE, SIZE, 3))
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(images, batch_size=PAIRS, shuffle=False, verbose=0)
    moving_mean = np.array(model.backbone.layers[2].moving_mean)
    np.testing.assert_allclose(moving_mean, expected, rtol=1e-4)


def test_the_second_pass_has_the_dropout_of_the_first():
    """A small step along the gradient lowers the loss by its square, with the same draws."""
    rate, losses, weights = 1e-3, [], None
    for _ in range(2):
        model = model_of(16, dropout=0.5, augmenter=plain_views())
        model.build((None, SIZE, SIZE, 3))
        model.compile(keras.optimizers.SGD(rate))
        if weights:
            model.set_weights(weights)
        before = model.get_weights()
        losses.append(model.fit(make_images(), batch_size=PAIRS, verbose=0).history["loss"][0])
        if weights is None:
            trainable = {v.path for v in model.trainable_variables}
            weights = [
                after if v.path in trainable else start
                for v, start, after in zip(model.weights, before, model.get_weights(), strict=True)
            ]
            steps = [a - b for a, b in zip(weights, before, strict=True) if a.dtype.kind == "f"]
    square = sum(np.square(step).sum() for step in steps) / rate
    assert losses[0] - losses[1] == pytest.approx(square, rel=0.05)


def test_the_seeds_of_dropout_are_passed_to_the_next_micro_batch():
    seeds = []
    for micro_batch_size in (16, 64):
        model = model_of(micro_batch_size, dropout=0.5, augmenter=plain_views())
        fitted(model)
        seeds.append(np.array(model.backbone.layers[-1].seed_generator.state))
    assert (seeds[0] != seeds[1]).any()


def test_layers_of_other_packages_have_new_draws_in_every_micro_batch():
    """Equal images, which would otherwise be solarized alike in every micro-batch."""
    from keras_simclr.layers.views import draw_views

    augmenter = SimCLRAugmenter(
        scale=(1, 1), color_distortion=0, grayscale=0, custom=[RandomSolarize(0.5, seed=1)], seed=2
    )
    images = np.repeat(make_images(1), 16, axis=0)
    augmenter(images)
    first, second = (
        keras.ops.convert_to_numpy(
            draw_views(augmenter, images, 3, shard_id=shard_id, num_shards=2)
        )
        for shard_id in (0, 1)
    )
    assert np.abs(first - second).max() > 1


def test_the_remainder_of_a_short_batch_is_dropped():
    """Batches of 64 and 40; of the latter 32 make two micro-batches, 8 are left out."""
    import tensorflow as tf

    images = make_images(104)
    losses = []
    for used in (104, 96):
        dataset = tf.data.Dataset.from_tensor_slices(images[:used]).batch(64)
        history, _ = fitted(model_of(16, augmenter=plain_views()), dataset, batch_size=None)
        losses.append(history["relative_loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_batch_smaller_than_a_micro_batch_is_used_whole():
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(make_images(74)).batch(64)
    history, changes = fitted(model_of(16, augmenter=plain_views()), dataset, batch_size=None)
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(change).all() for change in changes)


def test_evaluation_is_the_same_without_micro_batches():
    results = []
    for micro_batch_size in (None, 16):
        model = model_of(micro_batch_size, batch_norm=True, augmenter=crops())
        model.build((None, SIZE, SIZE, 3))
        model.compile("sgd")
        results.append(model.evaluate(make_images(), batch_size=PAIRS, verbose=0))
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_the_micro_batch_size_is_restored_from_the_config():
    model = model_of(16)
    assert SimCLR.from_config(model.get_config()).micro_batch_size == 16


def test_losses_added_by_layers_are_refused():
    backbone = keras.Sequential([layers.Conv2D(4, 3, activity_regularizer="l2")])
    model = SimCLR(backbone, micro_batch_size=16, seed=1)
    with pytest.raises(ValueError, match="do not work with `micro_batch_size`. Received: 1"):
        fitted(model)


def test_a_batch_that_is_not_a_multiple_is_refused_before_training():
    with pytest.raises(ValueError, match="must be a multiple of `micro_batch_size`. Received: 40"):
        model_of(16).fit(make_images(), batch_size=40, verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one way to run a step")
def test_steps_of_any_size_run_eagerly_as_a_graph_and_in_xla():
    losses = []
    given = make_images(20).repeat(2, axis=1).repeat(2, axis=2)[:, :20, :20]
    for options in ({"run_eagerly": True}, {}, {"jit_compile": True}):
        augmenter = SimCLRAugmenter(strength=1.0, blur=0.5, seed=2)
        model = model_of(5, augmenter=augmenter)
        model.build((None, 20, 20, 3))
        model.compile(keras.optimizers.SGD(0.1), **options)
        losses.append(model.fit(given, batch_size=20, verbose=0).history["loss"][0])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert np.isfinite(losses[2])  # XLA draws other random numbers
