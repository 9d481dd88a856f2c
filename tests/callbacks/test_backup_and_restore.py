import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_simclr import SimCLR, distribution
from keras_simclr.callbacks import BackupAndRestore


def train(folder, *callbacks):
    """Train for 4 epochs of 2 steps, and return the weights and the epochs that were done now."""
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    model = SimCLR(backbone, seed=1)
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1)).astype("uint8")
    callbacks = [*callbacks, BackupAndRestore(folder)]
    history = model.fit(images, batch_size=8, epochs=4, verbose=0, callbacks=callbacks)
    return model.get_weights(), [epoch + 1 for epoch in history.epoch]


class KillInTheThirdEpoch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            kill()


def kill(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def killed(moment, folder):
    """Train in a process that kills itself; its second backup is where things may go wrong."""
    if moment == "in an epoch":
        train(folder, KillInTheThirdEpoch())
    if moment == "while writing":
        write_half_of_the_second(folder)
    if moment == "before it has its name":
        on_second_call(os, "replace", kill)
    if moment == "before the old one is gone":
        Path.unlink = kill  # called for the first time by the second backup
    train(folder)


def write_half_of_the_second(folder):
    def write_half(model, path, **options):
        path.write_bytes(b"half")
        kill()

    on_second_call(SimCLR, "save_weights", write_half)


def on_second_call(owner, name, function):
    original = getattr(owner, name)

    def first(*args, **options):
        setattr(owner, name, function)
        return original(*args, **options)

    setattr(owner, name, first)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return train(tmp_path_factory.mktemp("backup"))[0]


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        ("in an epoch", [3, 4]),
        ("while writing", [2, 3, 4]),
        ("before it has its name", [2, 3, 4]),
        ("before the old one is gone", [3, 4]),
    ],
)
def test_a_run_killed_at_any_moment_ends_like_an_uninterrupted_one(
    moment, left, straight, tmp_path
):
    code = "import sys, test_backup_and_restore as test; test.killed(*sys.argv[1:])"
    here = {"KERAS_BACKEND": keras.backend.backend(), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code, moment, str(tmp_path / "backup")],
        cwd=Path(__file__).parent,
        env={**os.environ, **here},
    )
    assert process.returncode == -signal.SIGKILL
    weights, epochs = train(tmp_path / "backup")
    assert epochs == left
    for found, expected in zip(weights, straight, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not (tmp_path / "backup").exists()


def fit(folder, **arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    backup = BackupAndRestore(folder, **arguments)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[backup])
    return backup


def test_the_backup_can_be_kept(tmp_path):
    assert fit(tmp_path / "backup", delete_checkpoint=False).epochs_done == 2
    assert [path.name for path in (tmp_path / "backup").iterdir()] == ["epoch-2.weights.h5"]


def test_a_fit_after_a_restored_one_starts_over(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    data = np.ones((4, 2)), np.ones((4, 1))
    kept = BackupAndRestore(tmp_path, delete_checkpoint=False)
    model.fit(*data, epochs=1, verbose=0, callbacks=[kept])
    assert model.fit(*data, epochs=3, verbose=0, callbacks=[kept]).epoch == [1, 2]
    assert model.fit(*data, epochs=1, verbose=0).epoch == [0]


def test_without_a_backup_no_epoch_is_done(tmp_path):
    assert BackupAndRestore(tmp_path / "none").epochs_done == 0


def test_a_model_that_was_not_built_is_refused(tmp_path):
    fit(tmp_path, delete_checkpoint=False)
    backup = BackupAndRestore(tmp_path)
    backup.set_model(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="must be built"):
        backup.on_train_begin()


def test_processes_that_see_different_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "same_on_all_processes", lambda number: False)
    with pytest.raises(ValueError, match="All processes must see the same backup"):
        fit(tmp_path)


def test_a_process_that_does_not_write_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "is_main_process", lambda: False)
    fit(tmp_path)
    assert list(tmp_path.iterdir()) == []
