"""Datasets with epochs of a fixed number of batches, which can start at any step."""

import weakref

import keras


class EpochDataset(keras.utils.PyDataset):
    """Base class of datasets whose batches depend on the number of the step.

    Args:
        steps_per_epoch: Batches per epoch.

    Attributes:
        epoch: Current epoch.
        first_step: Step of the current epoch that is the first of its batches.
    """

    def __init__(self, steps_per_epoch):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        self.first_step = 0

    def __len__(self):
        """Return the number of batches per epoch."""
        return self.steps_per_epoch

    @property
    def num_batches(self):
        """Number of batches that are left in the current epoch."""
        return self.steps_per_epoch - self.first_step

    def start_epoch(self, epoch, step=0):
        """Let the next batches be those of an epoch, from one of its steps on."""
        self.epoch, self.first_step = epoch, step

    def step_of(self, index):
        """Return the number, over all epochs, of the step of batch `index` of those left."""
        return self.epoch * self.steps_per_epoch + self.first_step + index


def weakly(dataset):
    """Return what Keras may keep of a dataset: a weak proxy if it is an `EpochDataset`.

    TensorFlow never forgets a `PyDataset` that was read, and with it all images. The caller keeps
    the dataset for as long as it is read.
    """
    is_proxy = type(dataset) is weakref.ProxyType
    return weakref.proxy(dataset) if isinstance(dataset, EpochDataset) and not is_proxy else dataset
