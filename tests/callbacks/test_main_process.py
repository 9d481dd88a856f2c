"""Callbacks of the processes beside the main process."""

from pathlib import Path

import keras
import pytest

from keras_simclr import distribution
from keras_simclr.callbacks.main_process import list_callbacks, main_process_callbacks

pytestmark = pytest.mark.once


@pytest.fixture
def callbacks():
    return [
        keras.callbacks.CSVLogger("log.csv"),
        keras.callbacks.TensorBoard("board"),
        keras.callbacks.EarlyStopping(),
        keras.callbacks.ModelCheckpoint("here/best.weights.h5", save_weights_only=True),
    ]


def test_the_main_process_keeps_all_callbacks(callbacks):
    assert main_process_callbacks(callbacks) == callbacks


def test_a_process_that_does_not_save_keeps_callbacks_that_write_nothing(callbacks, monkeypatch):
    monkeypatch.setattr(distribution, "is_main_process", lambda: False)
    monkeypatch.setattr(distribution, "joins_saving", lambda: False)
    assert main_process_callbacks(callbacks) == [callbacks[2]]


def test_a_process_that_must_save_too_saves_elsewhere(callbacks, monkeypatch):
    monkeypatch.setattr(distribution, "is_main_process", lambda: False)
    monkeypatch.setattr(distribution, "joins_saving", lambda: True)
    assert main_process_callbacks(callbacks) == callbacks[2:]
    path = Path(callbacks[3].filepath)
    assert path.parent.is_dir() and path.parent != Path("here")
    assert path.name.endswith(".weights.h5")


@pytest.mark.parametrize("form", [None, "one", "tuple"])
def test_callbacks_may_be_none_one_or_many(form):
    callback = keras.callbacks.Callback()
    forms = {None: (None, []), "one": (callback, [callback]), "tuple": ((callback,), [callback])}
    given, expected = forms[form]
    assert list_callbacks(given) == expected
