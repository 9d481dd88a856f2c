"""Nothing here draws from the global random generators, which belong to the user."""

import random

import keras
import numpy as np
import pytest

from keras_simclr import SimCLR, SimCLRAugmenter, evaluation
from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.datasets import load_digits
from keras_simclr.layers import check_augmenter
from keras_simclr.models import distill

pytestmark = pytest.mark.usefixtures("eager")
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 12, 12, 3)).astype("uint8")
LABELS = np.arange(16) % 2


def next_draws():
    """Return a number of every global generator that the user may draw from."""
    drawn = [random.random(), np.random.random(), float(keras.random.uniform(()))]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        drawn.append(float(tf.random.uniform(())))
    if keras.backend.backend() == "torch":
        import torch

        drawn.append(float(torch.rand(())))
    return drawn


def save_and_load(pretrained, folder):
    pretrained.save(folder / "model.keras")
    keras.models.load_model(folder / "model.keras")


def save_and_load_preset(pretrained, folder):
    pretrained.save_to_preset(folder / "preset")
    SimCLR.from_preset(folder / "preset")


def back_up(pretrained, folder):
    callbacks = [BackupAndRestore(folder, save_freq=1, delete_checkpoint=False)]
    pretrained.fit(IMAGES, batch_size=8, epochs=1, verbose=0, callbacks=callbacks)


FEW = {"epochs": 1, "steps_per_epoch": 1, "verbose": 0}
ACTIONS = {
    "build": lambda model, _: SimCLR("resnet18", seed=0).build((None, 12, 12, 3)),
    "fit": lambda model, _: model.fit(IMAGES, batch_size=8, verbose=0, validation_split=0.5),
    "fit and back up": back_up,
    "evaluate": lambda model, _: model.evaluate(IMAGES, verbose=0),
    "predict": lambda model, _: model.predict(IMAGES, verbose=0),
    "fine_tune": lambda model, _: model.fine_tune(IMAGES, LABELS, **FEW),
    "fine_tune frozen": lambda model, _: model.fine_tune(
        IMAGES, LABELS, freeze_backbone=True, projection_layers=1, **FEW
    ),
    "untrained_copy": lambda model, _: model.untrained_copy(seed=3),
    "save and load": save_and_load,
    "save and load a preset": save_and_load_preset,
    "linear_probe": lambda model, _: evaluation.linear_probe(IMAGES, LABELS, model=model),
    "knn_predict": lambda model, _: evaluation.knn_predict(IMAGES, LABELS, IMAGES, model=model),
    "embedding_health": lambda model, _: evaluation.embedding_health(IMAGES, model=model),
    "distill": lambda model, _: distill(
        model.fine_tune(IMAGES, LABELS, **FEW), IMAGES, student=model, seed=0, epochs=1, verbose=0
    ),
    "check_augmenter": lambda model, _: check_augmenter(SimCLRAugmenter(seed=0), IMAGES),
    "load_digits": lambda model, _: load_digits(image_size=8),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_global_random_generators_are_left_alone(action, pretrained, tmp_path):
    keras.utils.set_random_seed(5)
    expected = next_draws()
    keras.utils.set_random_seed(5)
    ACTIONS[action](pretrained, tmp_path)
    assert next_draws() == expected


def test_the_same_seed_gives_the_same_run_bit_for_bit(make_model):
    one, other = make_model(augmenter=None), make_model(augmenter=None)
    options = {"batch_size": 8, "epochs": 2, "verbose": 0}
    assert one.fit(IMAGES, **options).history == other.fit(IMAGES, **options).history
    for weight, its_weight in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(np.array(weight), np.array(its_weight))
