"""What runs over several processes need around them."""

import keras

from keras_simclr import distribution


class AverageLogs(keras.callbacks.Callback):
    """Give the callbacks that follow the logs of all processes instead of this one's."""

    def on_epoch_end(self, epoch, logs=None):
        """Average the logs, where they are."""
        logs.update(distribution.average_logs(logs))
