"""The current epoch, for datasets that depend on it."""

import keras


class SetEpoch(keras.callbacks.Callback):
    """Set the `epoch` of a dataset whose order depends on it.

    Args:
        dataset: A dataset with an attribute `epoch`.
    """

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(self, epoch, logs=None):
        """Set the epoch before its first batch is read."""
        self.dataset.epoch = epoch
