"""The warning when training does not work, and its absence when it does."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import LARS
from keras_simclr.callbacks import WarnOnCollapse
from keras_simclr.callbacks.warn_on_collapse import Window, _views_differ
from keras_simclr.optimizers import warmup_cosine

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def images():
    """Return 256 images with a random, smooth pattern each."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (256, 4, 4, 3)).astype("float32")
    return coarse.repeat(4, axis=1).repeat(4, axis=2).astype("uint8")


def fit(model, images, optimizer="auto", steps=200, batch_size=32, epochs=1):
    model.compile(optimizer)
    model.fit(
        images,
        batch_size=batch_size,
        steps_per_epoch=steps // epochs,
        epochs=epochs,
        verbose=0,
    )


def messages(caught):
    return [str(w.message) for w in caught if str(w.message).startswith("Training ")]


ABSURD = {
    "SGD": lambda: keras.optimizers.SGD(1e4),
    "Adam": lambda: keras.optimizers.Adam(10.0),
    "LARS": lambda: LARS(1e3),
}
HEALTHY = {
    "recipe": lambda: "auto",
    "Adam": lambda: keras.optimizers.Adam(1e-3),
    "SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "warm-up": lambda: LARS(warmup_cosine(1.0, 10_000, 1_000)),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_learning_rate_is_warned_of_in_200_steps(name, make_model, images):
    with pytest.warns(UserWarning, match="the weights have become.*The learning rate, now") as w:
        fit(make_model(), images, ABSURD[name](), steps=60)
    assert len(messages(w)) == 1


def test_epochs_may_be_shorter_than_a_look(make_model, images):
    with pytest.warns(UserWarning, match="the weights have become"):
        fit(make_model(), images, keras.optimizers.SGD(1e4), steps=60, epochs=12)


@pytest.mark.every_backend
def test_a_model_that_has_collapsed_is_warned_of_in_200_steps(make_model, images):
    dead = keras.layers.Dense(8, kernel_initializer="zeros", use_bias=False)
    model = make_model()
    model.projection_head = dead
    with pytest.warns(UserWarning, match="stands still at the loss of a collapsed model.*0.00%"):
        fit(model, images, keras.optimizers.SGD(0.1))


def test_an_augmenter_that_does_nothing_is_warned_of_in_200_steps(make_model, images):
    model = make_model(augmenter=layers.Rescaling(1.0))
    with pytest.warns(UserWarning, match="the two views of an image are the same") as caught:
        fit(model, images, "adam", steps=60)
    assert len(messages(caught)) == 1


@pytest.mark.parametrize(
    ("name", "batch_size"), [("recipe", 64), ("Adam", 8), ("SGD", 32), ("warm-up", 8)]
)
def test_a_healthy_run_is_not_warned_of(name, batch_size, make_model, images):
    fit(make_model(), images, HEALTHY[name](), batch_size=batch_size)  # a warning is an error


@pytest.mark.every_backend
def test_the_check_of_the_views_leaves_random_states_alone(make_model, images):
    model = make_model(augmenter=layers.GaussianNoise(0.9, seed=3))
    model.build((None, 16, 16, 3))
    before = [np.array(v) for v in model.augmenter.variables]
    assert before and _views_differ(model)
    for old, new in zip(before, model.augmenter.variables, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def judge(*windows, monkeypatch):
    """Return what is warned of after these windows, of 128 images each."""
    callback = WarnOnCollapse()
    callback._windows, callback._warned, callback._size = [], set(), None
    model = type("Model", (), {})()
    model.temperature, model.optimizer = 0.1, keras.optimizers.SGD(0.5)
    monkeypatch.setattr(WarnOnCollapse, "model", model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for window in windows:
            callback._windows.append(window)
            callback._judge()
    return messages(caught)


def window(accuracy, relative_loss, images=128):
    return Window(relative_loss * np.log(2 * images - 1), accuracy, relative_loss)


def test_a_collapse_in_the_middle_is_distinguished_from_standing_still(monkeypatch):
    good, bad = window(0.4, 0.6), window(0.0, 1.0)
    (text,) = judge(good, good, good, bad, bad, bad, monkeypatch=monkeypatch)
    assert "has collapsed" in text and "was 40.0% before" in text and "now 0.5" in text
    (text,) = judge(bad, bad, bad, monkeypatch=monkeypatch)
    assert "stands still" in text


def test_a_loss_above_that_of_a_collapsed_model_is_healthy_at_first(monkeypatch):
    windows = window(0.005, 1.04), window(0.006, 1.01), window(0.02, 0.99), window(0.05, 0.9)
    assert judge(*windows, monkeypatch=monkeypatch) == []


def test_a_low_accuracy_above_chance_is_healthy(monkeypatch):
    assert judge(*[window(0.02, 1.0)] * 5, monkeypatch=monkeypatch) == []  # by chance, 0.0039


@pytest.mark.parametrize(("images", "warned"), [(8, 1), (256, 0)])
def test_a_small_batch_whose_loss_is_zero_is_warned_of(images, warned, monkeypatch):
    windows = [window(0.3, 0.5, images), window(0.999, 0.01, images)]
    found = judge(*windows, monkeypatch=monkeypatch)
    assert len(found) == warned
    assert all("The batch of 8 images is too small for the temperature of 0.1" in t for t in found)


def test_a_window_knows_the_batch_size():
    assert window(0.1, 0.7, images=32).others == pytest.approx(63)
    assert window(0.1, 0.7, images=32).chance == pytest.approx(1 / 63)


def test_the_callback_ignores_other_models(images):
    model = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(images / 255.0, np.zeros(256), verbose=0, callbacks=[WarnOnCollapse()])
