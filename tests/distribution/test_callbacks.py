"""Callbacks of a process that is not the one that writes files."""

from pathlib import Path

import keras
import pytest

from keras_simclr import distribution


@pytest.fixture
def callbacks():
    return [
        keras.callbacks.CSVLogger("log.csv"),
        keras.callbacks.TensorBoard("board"),
        keras.callbacks.EarlyStopping(),
        keras.callbacks.ModelCheckpoint("here/best.weights.h5", save_weights_only=True),
    ]


def test_the_writer_keeps_all_callbacks(callbacks):
    assert distribution.written_once(callbacks) == callbacks


def test_a_process_that_need_not_save_keeps_those_that_write_nothing(callbacks, monkeypatch):
    monkeypatch.setattr(distribution, "is_writer", lambda: False)
    monkeypatch.setattr(distribution, "saves", lambda: False)
    assert distribution.written_once(callbacks) == [callbacks[2]]


def test_a_process_that_must_save_too_saves_elsewhere(callbacks, monkeypatch):
    monkeypatch.setattr(distribution, "is_writer", lambda: False)
    monkeypatch.setattr(distribution, "saves", lambda: True)
    assert distribution.written_once(callbacks) == callbacks[2:]
    path = Path(callbacks[3].filepath)
    assert path.parent.is_dir() and path.parent != Path("here")
    assert path.name.endswith(".weights.h5")
