"""The current epoch, for datasets that depend on it."""

import keras


class SetEpoch(keras.callbacks.Callback):
    """Set the epoch of a dataset whose order depends on it.

    Args:
        dataset: A dataset with a method `start_epoch`.
        start: `EpochStart` of the `fit`.
    """

    def __init__(self, dataset, start):
        super().__init__()
        self.dataset = dataset
        self.start = start

    def on_epoch_begin(self, epoch, logs=None):
        """Set the epoch, and the step to start at, before the first batch is read."""
        self.dataset.start_epoch(epoch, self.start.step if epoch == self.start.epoch else 0)
