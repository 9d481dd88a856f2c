"""Batches of arrays in a reproducible order."""

from typing import Any

import numpy as np

from keras_simclr.data.epoch_dataset import EpochDataset
from keras_simclr.data.inspection import is_array, to_image_batch


class ArrayDataset(EpochDataset):
    """Batches of arrays, in an order that depends only on the seed and the epoch.

    No checkpoint contains the state of Keras' own shuffling. With this dataset, a run resumed at
    an epoch uses the order of that epoch. A `numpy.memmap` is read batch by batch.

    Args:
        images: Array of shape (N, H, W, C).
        labels: Array of length N. Defaults to None: images only.
        sample_weight: Array of shape (N,), a weight for the loss of each image. Defaults to None.
        batch_size: Images per batch.
        seed: Integer that determines the order of every epoch. Defaults to None: no shuffling.
        drop_remainder: Whether to drop the last incomplete batch. Defaults to False.
        steps_per_epoch: Batches per epoch. Defaults to one pass over the images.
        transform: Function of (images, step), applied to every batch. Defaults to None.
        shard: (shard_id, num_shards), the shard of every batch to return. Defaults to the whole
            batch.
        resident: The images on the GPU, indexed by rows. Defaults to None: read from `images`.
    """

    def __init__(
        self,
        images,
        labels=None,
        sample_weight=None,
        *,
        batch_size,
        seed=None,
        drop_remainder=False,
        steps_per_epoch=None,
        transform=None,
        shard=(0, 1),
        resident=None,
    ):
        self.images = images
        self.targets = [array for array in (labels, sample_weight) if array is not None]
        self.batch_size = batch_size
        self.seed = seed
        whole, remainder = divmod(len(images), batch_size)
        self.steps_per_pass = whole if drop_remainder else whole + (remainder > 0)
        super().__init__(steps_per_epoch or self.steps_per_pass)
        self.transform = transform
        self.shard = shard
        self.resident = resident
        self._order: tuple[int | None, Any] = (None, None)

    def __getitem__(self, index):
        """Return batch `index` of those that are left: (images, labels, sample weights)."""
        step = self.step_of(index)
        chosen = self.rows_of(step)
        if self.resident is not None:
            images = self.resident[chosen]
        else:
            images = to_image_batch(self.images[chosen])
        if self.transform:
            images = self.transform(images, step)
        return (images, *(array[chosen] for array in self.targets))

    def rows_of(self, step):
        """Return the rows of the images in the batch of a step, counted over all epochs."""
        number, position = divmod(step, self.steps_per_pass)
        start = position * self.batch_size
        return take_shard(self._order_of(number)[start : start + self.batch_size], self.shard)

    def fingerprint(self):
        """Return the bytes of some of the images, which change with the data."""
        return spread_sample(self.images)

    def _order_of(self, number):
        """Return the order of the images in pass `number`."""
        known, order = self._order
        if known != number:
            order = np.arange(len(self.images))
            if self.seed is not None:
                np.random.default_rng((self.seed, number)).shuffle(order)
            self._order = (number, order)
        return order


def take_shard(rows, shard):
    """Return the rows of a batch that belong to `shard`, (shard_id, num_shards)."""
    shard_id, num_shards = shard
    if num_shards == 1:
        return rows
    size = len(rows) // num_shards
    return rows[shard_id * size : (shard_id + 1) * size]


def spread_sample(images, count=64):
    """Return at most `count` images at equal distances in an array."""
    return np.asarray(images[np.linspace(0, len(images) - 1, min(count, len(images)), dtype=int)])


def split_array(x, fraction, *targets):
    """Split arrays into training data and validation data.

    Args:
        x: Array of images.
        fraction: Fraction of the images, taken from the end, to validate on; above 0 and below 1.
        *targets: Labels and sample weights of the images, or None.

    Returns:
        Two lists, each of (x, *targets): for training and for validation.

    Raises:
        ValueError: If `x` is not an array, or `fraction` is out of range or leaves one part empty.
    """
    if not is_array(x) or not 0 < fraction < 1:
        raise ValueError(
            "`validation_split` must be between 0 and 1, and is only supported for arrays. "
            f"Received: validation_split={fraction} with {type(x).__name__}."
        )
    count = round(len(x) * (1 - fraction))
    if not 0 < count < len(x):
        raise ValueError(
            "`validation_split` must leave images for both training and validation. Received: "
            f"validation_split={fraction} with {len(x)} images."
        )
    arrays = (x, *targets)
    first = [None if array is None else array[:count] for array in arrays]
    return first, [None if array is None else array[count:] for array in arrays]
