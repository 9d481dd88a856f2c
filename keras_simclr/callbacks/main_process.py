"""Callbacks in runs with several processes."""

import functools
import tempfile

import keras

from keras_simclr import distribution
from keras_simclr.callbacks.backup_and_restore import BackupAndRestore
from keras_simclr.callbacks.monitors import Monitor
from keras_simclr.callbacks.set_epoch import SetEpoch
from keras_simclr.callbacks.terminate_on_nonfinite import TerminateOnNonFinite
from keras_simclr.callbacks.warn_on_collapse import WarnOnCollapse


class AverageLogs(keras.callbacks.Callback):
    """Replace the logs of this process with the mean over all, for the callbacks after it."""

    def on_epoch_end(self, epoch, logs=None):
        """Average the logs in place."""
        logs.update(distribution.all_reduce_logs(logs))


def all_callbacks(callbacks, start, dataset=None):
    """Return the callbacks of a `fit`: those of this package, then the given ones.

    Args:
        callbacks: The given ones: None, a callback, or a list of them.
        start: `EpochStart` of the `fit`.
        dataset: Dataset whose order depends on the epoch. Defaults to None.
    """
    follows = [] if dataset is None else [SetEpoch(dataset, start)]
    always = [AverageLogs(), TerminateOnNonFinite(), WarnOnCollapse()]
    return [*follows, *always, *main_process_callbacks(callbacks)]


def list_callbacks(callbacks):
    """Return callbacks, given as None, one or a list, as a list."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def main_process_callbacks(callbacks):
    """Return the callbacks for this process, so that only the main process writes logs and models.

    The other processes get neither `CSVLogger` nor `TensorBoard`. Where all processes must take
    part in saving, their `ModelCheckpoint` writes to a temporary folder. Monitors come first, as
    others read what they add to the logs, and `BackupAndRestore` comes last.

    Args:
        callbacks: None, a callback, or a list of them.

    Returns:
        A list of callbacks.
    """
    callbacks = sorted(list_callbacks(callbacks), key=_position)
    if distribution.is_main_process():
        return callbacks
    unneeded = [keras.callbacks.CSVLogger, keras.callbacks.TensorBoard]
    if not distribution.joins_saving():
        unneeded.append(keras.callbacks.ModelCheckpoint)
    kept = [callback for callback in callbacks if not isinstance(callback, tuple(unneeded))]
    for callback in kept:
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            suffix = "weights.h5" if callback.save_weights_only else "keras"
            callback.filepath = f"{_temporary_folder().name}/checkpoint.{suffix}"
    return kept


def _position(callback):
    # A backup has the states of the other callbacks, so it is saved after they have run.
    return isinstance(callback, BackupAndRestore) - isinstance(callback, Monitor)


@functools.cache
def _temporary_folder():
    return tempfile.TemporaryDirectory()
