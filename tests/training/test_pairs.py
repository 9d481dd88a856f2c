"""Losses of more than two views of each image."""

import itertools

import keras
import numpy as np
import pytest

from keras_simclr import NTXentLoss, ProjectionHead, SimCLR, SimCLRAugmenter
from keras_simclr.layers import RandomSolarize
from keras_simclr.layers.presets import CROP_AND_FLIP
from keras_simclr.training.pairs import compare_pairs

COUNT, VIEWS, WIDTH = 5, 4, 6


def by_loops(z, temperature, decoupled):
    """Write the mean over all pairs of views as loops over anchors and the other views."""
    losses = []
    for pair in itertools.combinations(range(z.shape[1]), 2):
        rows = np.concatenate([z[:, view] for view in pair])
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for anchor in range(len(rows)):
            positive = (anchor + len(z)) % len(rows)
            left_out = {anchor, positive} if decoupled else {anchor}
            others = [k for k in range(len(rows)) if k not in left_out]
            logits = rows @ rows[anchor] / temperature
            losses.append(np.log(np.exp(logits[others]).sum()) - logits[positive])
    return np.mean(losses)


@pytest.fixture
def z(rng):
    return rng.normal(size=(COUNT, VIEWS, WIDTH))


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("chunk_size", ["auto", 3])
def test_the_loss_is_the_mean_over_all_pairs_of_views(decoupled, chunk_size, z):
    loss = NTXentLoss(0.3, decoupled=decoupled, chunk_size=chunk_size)
    found, correct = compare_pairs(loss, keras.ops.convert_to_tensor(z.astype("float32")))
    assert float(found) == pytest.approx(by_loops(z, 0.3, decoupled), rel=1e-5)
    assert correct.shape == (6 * 2 * COUNT,)


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_gradient_is_that_of_the_loops(decoupled, z, gradient):
    loss = NTXentLoss(0.3, decoupled=decoupled)
    found = gradient(lambda tensor: compare_pairs(loss, tensor)[0], z.astype("float32"))
    expected, step = np.empty_like(z), 1e-5
    for index in np.ndindex(z.shape):
        moved = [z.copy(), z.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        above, below = (by_loops(one, 0.3, decoupled) for one in moved)
        expected[index] = (above - below) / (2 * step)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_any_loss_of_two_views_is_called_for_each_pair(z):
    tensor = keras.ops.convert_to_tensor(z.astype("float32"))
    found, _ = compare_pairs(lambda a, b: keras.ops.mean(a * b, axis=1), tensor)
    pairs = itertools.combinations(range(VIEWS), 2)
    assert float(found) == pytest.approx(np.mean([z[:, a] * z[:, b] for a, b in pairs]), rel=1e-4)


def model_of(images, **arguments):
    """Return a model with a smooth encoder, whose learning rate is 1."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    backbone = [layers.Rescaling(1 / 255), layers.Conv2D(8, 3, 2), layers.Activation("tanh")]
    augmenter = SimCLRAugmenter(**CROP_AND_FLIP, seed=2)
    options = {"augmenter": augmenter, "num_views": 3, "seed": 1, **arguments}
    options["projection_head"] = ProjectionHead(8, output_dim=8, batch_norm=False)
    model = SimCLR(keras.Sequential(backbone), **options)
    model.build((None, *images.shape[1:]))
    model.compile(keras.optimizers.SGD(1.0))
    return model


@pytest.fixture
def images(rng):
    colors = rng.uniform(0, 200, (16, 1, 1, 3)) + rng.uniform(0, 55, (16, 12, 12, 3))
    return colors.astype("uint8")


def test_training_reports_the_mean_over_the_pairs_of_three_views(images):
    model = model_of(images)
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(images, batch_size=16, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert 0 <= history["contrastive_accuracy"][0] <= 1
    relative = history["loss"][0] / np.log(31)
    assert history["relative_loss"][0] == pytest.approx(relative, rel=1e-5)


def test_the_relative_loss_of_the_decoupled_loss_is_relative_to_its_own_collapse(images):
    model = model_of(images)
    model.compile("sgd", loss=NTXentLoss(0.5, decoupled=True))
    found = model.evaluate(images, batch_size=16, verbose=0, return_dict=True)
    assert found["relative_loss"] == pytest.approx(found["loss"] / np.log(30), rel=1e-5)


def test_three_views_in_micro_batches_have_the_gradient_of_the_whole_batch(images):
    changes = []
    for size in (None, 4):
        model = model_of(images, micro_batch_size=size)
        before = model.get_weights()
        model.fit(images, batch_size=16, verbose=0)
        changes.append([a - b for a, b in zip(model.get_weights(), before, strict=True)])
    for one, other in zip(*changes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_the_first_of_two_augmenters_makes_the_first_view_and_the_second_all_others(images):
    augmenter = RandomSolarize(0.0, seed=1), RandomSolarize(1.0, threshold=0.0, seed=2)
    model = model_of(images, augmenter=augmenter)
    views = keras.ops.convert_to_numpy(model.augmenter(np.concatenate([images] * 3)))
    np.testing.assert_allclose(views[:16], images, atol=1e-3)
    np.testing.assert_allclose(views[16:32], 255.0 - images, atol=1e-3)
    np.testing.assert_allclose(views[32:], 255.0 - images, atol=1e-3)


def test_a_model_of_several_views_is_restored_from_its_config(images):
    first, second = RandomSolarize(0.5, seed=1), RandomSolarize(0.5, seed=2)
    model = SimCLR("resnet18", augmenter=(first, second), num_views=4, seed=1)
    again = SimCLR.from_config(model.get_config())
    assert again.num_views == again.augmenter.num_views == 4
