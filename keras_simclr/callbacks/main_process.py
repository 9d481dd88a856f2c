"""Callbacks in runs with several processes."""

import functools
import tempfile

import keras

from keras_simclr import distribution


class AverageLogs(keras.callbacks.Callback):
    """Replace the logs of this process with the mean over all, for the callbacks after it."""

    def on_epoch_end(self, epoch, logs=None):
        """Average the logs in place."""
        logs.update(distribution.all_reduce_logs(logs))


def list_callbacks(callbacks):
    """Return callbacks, given as None, one or a list, as a list."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def main_process_callbacks(callbacks):
    """Return the callbacks for this process, so that only the main process writes logs and models.

    The other processes get neither `CSVLogger` nor `TensorBoard`. Where all processes must take
    part in saving, their `ModelCheckpoint` writes to a temporary folder.

    Args:
        callbacks: None, a callback, or a list of them.

    Returns:
        A list of callbacks.
    """
    callbacks = list_callbacks(callbacks)
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


@functools.cache
def _temporary_folder():
    return tempfile.TemporaryDirectory()
