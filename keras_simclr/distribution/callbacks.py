"""What runs over several processes need around them."""

import functools
import tempfile

import keras

from keras_simclr import distribution


class AverageLogs(keras.callbacks.Callback):
    """Give the callbacks that follow the logs of all processes instead of this one's."""

    def on_epoch_end(self, epoch, logs=None):
        """Average the logs, where they are."""
        logs.update(distribution.average_logs(logs))


def written_once(callbacks):
    """Return callbacks of which those of Keras that write logs and models do so in one process.

    The others get neither `CSVLogger` nor `TensorBoard`. Where they must save along with the one
    that writes, the files of their `ModelCheckpoint` go to a folder that ends with the process.
    """
    if distribution.is_writer():
        return [*callbacks]
    unneeded = [keras.callbacks.CSVLogger, keras.callbacks.TensorBoard]
    if not distribution.saves():
        unneeded.append(keras.callbacks.ModelCheckpoint)
    kept = [callback for callback in callbacks if not isinstance(callback, tuple(unneeded))]
    for callback in kept:
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            suffix = "weights.h5" if callback.save_weights_only else "keras"
            callback.filepath = f"{_passing_folder().name}/checkpoint.{suffix}"
    return kept


@functools.cache
def _passing_folder():
    return tempfile.TemporaryDirectory()
