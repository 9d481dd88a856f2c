"""A dataset that repeats for as many steps as training needs."""

import keras

from keras_simclr.data.array_dataset import take_shard
from keras_simclr.data.epoch_dataset import EpochDataset
from keras_simclr.data.inspection import (
    images_as_numpy,
    iterate_batches,
    num_batches,
    to_image_batch,
    to_numpy,
)

NUM_KEPT = 2  # batches that Keras reads before an epoch, and again within it


class RepeatedDataset(EpochDataset):
    """Epochs of a fixed number of batches, from as many passes over a dataset as needed.

    An epoch starts with the batch after the last one of the previous epoch.

    Args:
        dataset: Any iterable of batches that can be iterated over more than once.
        steps_per_epoch: Batches per epoch.
        batch_size: Images per batch; batches of any other size are dropped. Defaults to None: all
            batches are used.
        transform: Function of (images, step), applied to every batch. Defaults to None.
        shard: (shard_id, num_shards), the shard of every batch to return. Defaults to the whole
            batch.
        images_only: Whether to drop the labels. Defaults to False.

    Raises:
        ValueError: If the dataset ends early and cannot be read again.
    """

    def __init__(
        self,
        dataset,
        steps_per_epoch,
        *,
        batch_size=None,
        transform=None,
        shard=(0, 1),
        images_only=False,
    ):
        super().__init__(steps_per_epoch)
        self.dataset = dataset
        self.batch_size = batch_size
        self.transform = transform
        self.shard = shard
        self.images_only = images_only
        self._next_step = None
        self._kept = {}

    def start_epoch(self, epoch, step=0):
        """Let the next batches be those of an epoch, from one of its steps on.

        Batches that were not read yet are read up to there, since the order of the dataset may
        depend on how often it was read.
        """
        begun = self.epoch * self.steps_per_epoch if self._next_step is None else self._next_step
        for number in range(begun, epoch * self.steps_per_epoch + step):
            self._read(number)
        super().start_epoch(epoch, step)

    def __getitem__(self, index):
        """Return batch `index` of those that are left in the current epoch."""
        step = self.step_of(index)
        if step not in self._kept:
            self._read(step)
        images, *targets = self._kept[step]
        if self.transform:
            images = self.transform(images, step)
        return (images, *targets)

    def _read(self, step):
        if step != self._next_step:
            self._batches, self._kept = self._passes(), {}
        self._kept[step] = next(self._batches)
        self._kept.pop(step - NUM_KEPT, None)
        self._next_step = step + 1

    def _passes(self):
        while True:
            found = False
            for batch in iterate_batches(self.dataset):
                arrays = self._arrays(batch)
                if self.batch_size in (None, len(arrays[0])):
                    found = True
                    yield [take_shard(array, self.shard) for array in arrays]
            if not found:
                raise ValueError(
                    "The dataset ended before training did, and cannot be read again. Received: "
                    f"{type(self.dataset).__name__}. Pass a dataset that can be "
                    "iterated over more than once, or train for fewer steps."
                )

    def _arrays(self, batch):
        images = to_image_batch(images_as_numpy(batch))
        if self.images_only or not isinstance(batch, (tuple, list)):
            return [images]
        return [images, *(to_numpy(array) for array in batch[1:3])]


def num_full_batches(dataset, batch_size):
    """Return the number of batches of `batch_size` images, or None if unknown or infinite.

    Only the last batch of a `PyDataset` is read; other datasets are read completely.
    """
    count = num_batches(dataset)
    if count is None:
        return None
    if isinstance(dataset, keras.utils.PyDataset):
        return count - (len(images_as_numpy(dataset[count - 1])) != batch_size)
    sizes = [len(images_as_numpy(batch)) for batch in iterate_batches(dataset)]
    return sizes.count(batch_size)
