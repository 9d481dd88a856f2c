"""Callbacks that evaluate features during `fit`."""

import csv

import keras
import numpy as np
import pytest

from keras_simclr.callbacks import BackupAndRestore, EmbeddingHealth, KNNMonitor
from keras_simclr.evaluation import embedding_health, knn_accuracy

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


@pytest.fixture
def knn(labeled_images):
    images, labels = labeled_images
    return KNNMonitor(images[:16], labels[:16], images[16:], labels[16:])


def fit(model, images, callbacks, epochs=2):
    return model.fit(images, epochs=epochs, verbose=0, callbacks=callbacks).history


@pytest.mark.every_backend
def test_knn_accuracy_is_that_of_the_features(knn, make_model, labeled_images):
    images, labels = labeled_images
    model = make_model()
    history = fit(model, images, knn)
    features = model.predict(images, verbose=0)
    expected = knn_accuracy(features[:16], labels[:16], features[16:], labels[16:])
    assert len(history["knn_accuracy"]) == 2
    assert history["knn_accuracy"][-1] == expected


@pytest.mark.every_backend
def test_health_is_that_of_the_features(make_model, labeled_images):
    images, _ = labeled_images
    model = make_model()
    history = fit(model, images, EmbeddingHealth(images))
    expected = embedding_health(model.predict(images, verbose=0))
    assert history["effective_rank"][-1] == pytest.approx(expected.effective_rank, rel=1e-4)
    assert history["uniformity"][-1] == pytest.approx(expected.uniformity, rel=1e-4)
    assert {"dead_dimensions", "norm_spread"} <= set(history)


@pytest.mark.every_backend
def test_monitors_leave_training_unchanged(knn, make_model, labeled_images):
    images, _ = labeled_images
    without, monitored = make_model(), make_model()
    fit(without, images, [])
    fit(monitored, images, [knn, EmbeddingHealth(images)])
    for one, other in zip(without.get_weights(), monitored.get_weights(), strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda images: images[..., :1], "np.repeat"), (lambda images: images / 255, "value_range=")],
)
def test_images_that_the_model_does_not_take_are_refused_before_training(
    change, message, make_model, labeled_images
):
    images, labels = labeled_images
    wrong = change(images)
    for monitor in (KNNMonitor(images, labels, wrong, labels), EmbeddingHealth(wrong)):
        model = make_model()
        with pytest.raises(ValueError, match=message):
            fit(model, images, monitor)
        assert not model.pretrained


def test_every_epoch_has_a_value_but_not_every_one_is_measured(make_model, labeled_images):
    measured = []

    class Counting(EmbeddingHealth):
        def measure(self):
            measured.append(len(measured))
            return {"effective_rank": float(len(measured))}

    history = fit(make_model(), labeled_images[0], Counting(labeled_images[0], every=3), epochs=6)
    assert history["effective_rank"] == [1, 1, 1, 2, 2, 3]


def test_callbacks_that_come_before_see_the_values(knn, make_model, labeled_images, tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.weights.h5",
        monitor="knn_accuracy",
        mode="max",
        save_best_only=True,
        save_weights_only=True,
    )
    stopping = keras.callbacks.EarlyStopping("knn_accuracy", mode="max", patience=9)
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = fit(make_model(), labeled_images[0], [logger, checkpoint, stopping, knn])
    assert (tmp_path / "best.weights.h5").exists()
    assert stopping.best == max(history["knn_accuracy"])
    with open(tmp_path / "log.csv", newline="") as file:
        rows = [float(row["knn_accuracy"]) for row in csv.DictReader(file)]
    assert rows == pytest.approx(history["knn_accuracy"])


def test_a_resumed_run_has_the_values_of_the_interrupted_one(make_model, labeled_images, tmp_path):
    images, _ = labeled_images

    def run(folder, stop_after=None):
        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == stop_after:
                    raise InterruptedError

        monitor = EmbeddingHealth(images, every=4)
        backup = BackupAndRestore(tmp_path / folder)
        return fit(make_model(), images, [monitor, backup, Stop()], epochs=3)

    whole = run("whole")
    with pytest.raises(InterruptedError):
        run("killed", stop_after=1)
    assert run("killed")["effective_rank"] == pytest.approx(whole["effective_rank"])


def test_at_most_some_images_are_used(rng):
    images = rng.integers(0, 255, (50, 4, 4, 3), "uint8")
    monitor = KNNMonitor(images, np.arange(50), images, np.arange(50), max_images=8)
    (bank, labels), _ = monitor._bank, monitor._test
    np.testing.assert_array_equal(bank, images[labels])
    assert len(set(labels)) == 8


def test_a_number_of_epochs_must_be_positive(labeled_images):
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        EmbeddingHealth(labeled_images[0], every=0)


def test_labels_of_another_number_are_refused(labeled_images):
    images, labels = labeled_images
    with pytest.raises(ValueError, match="one class label for each row of `test_images`"):
        KNNMonitor(images, labels, images, labels[:5])


@pytest.mark.parametrize("images", [[1, 2], np.zeros((4, 3))])
def test_other_data_are_refused(images):
    with pytest.raises(ValueError, match="Images must be an array of shape"):
        EmbeddingHealth(images)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (np.arange(8) % 2, {"k": 0}, "`k` must be"),
        (np.arange(8) % 2, {"temperature": -1.0}, "`temperature` must be"),
        (np.zeros(8), {}, "at least 2 classes"),
    ],
)
def test_what_a_knn_monitor_cannot_measure_is_refused_at_once(labels, options, words):
    images = np.zeros((8, 8, 8, 3), "uint8")
    with pytest.raises(ValueError, match=words):
        KNNMonitor(images, labels, images, labels, **options)


def test_another_training_does_not_repeat_values_of_the_first(make_model, labeled_images):
    images, _ = labeled_images
    health = EmbeddingHealth(images, every=5)
    first = fit(make_model(), images, health)["uniformity"]
    options = {"epochs": 3, "initial_epoch": 1, "verbose": 0, "callbacks": health}
    other = make_model(seed=9).fit(images, **options).history["uniformity"]
    assert first[-1] not in other
