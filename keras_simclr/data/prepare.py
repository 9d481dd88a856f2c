"""Preparation of images for pretraining and evaluation."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_simclr import distribution
from keras_simclr.data.array_dataset import ArrayDataset
from keras_simclr.data.batch_size import (
    check_no_batch_size,
    check_shards,
    check_two_images,
    checked_batch_size,
    sharded_batch_size,
)
from keras_simclr.data.epoch_dataset import EpochDataset
from keras_simclr.data.file_dataset import FileDataset
from keras_simclr.data.image_checks import check_images, check_no_views
from keras_simclr.data.inspection import (
    first_batch,
    images_as_numpy,
    is_array,
    is_read_once,
    is_tf_dataset,
    is_torch_loader,
    num_batches,
    to_numpy,
)
from keras_simclr.data.repeated_dataset import RepeatedDataset, num_full_batches
from keras_simclr.keras_internals import EpochStart
from keras_simclr.ops.resident import resident_images
from keras_simclr.validation import check_positive_integer


@dataclasses.dataclass(frozen=True)
class PreparedData:
    """Images that have been checked and prepared for Keras.

    Args:
        data: Dataset in a form that Keras accepts.
        first: First images of the data, a NumPy array.
        batch_size: Global batch size.
        steps_per_epoch: Batches per epoch, or None if unknown.
    """

    data: Any
    first: np.ndarray
    batch_size: int
    steps_per_epoch: int | None

    @property
    def own_dataset(self):
        """`data` if it is a dataset of this package, whose order depends on its epoch, or None."""
        return self.data if isinstance(self.data, EpochDataset) else None

    @property
    def is_array(self):
        """Whether `data` is an array or files, in batches of this package."""
        return isinstance(self.data, ArrayDataset)

    @property
    def images(self):
        """All images, with shape and dtype, or the first ones of a dataset."""
        return self.data.images if self.is_array else self.first

    def fingerprint(self):
        """Return an array that changes with the images."""
        return self.data.fingerprint()

    def epoch_start(self):
        """Return an `EpochStart` for the data: they are read again unless they are our own."""
        py_dataset = isinstance(self.data, keras.utils.PyDataset)
        draws = not py_dataset or isinstance(self.data, RepeatedDataset)
        return EpochStart(replay=self.own_dataset is None, draws=draws)

    @property
    def keras_steps(self):
        """The `steps_per_epoch` to pass to Keras: None if `data` has a known length."""
        return None if num_batches(self.data) is not None else self.steps_per_epoch


def prepare_training_data(
    x, y, value_range, *, batch_size=None, seed=None, steps_per_epoch=None, micro_batch_size=None
):
    """Check images for pretraining and prepare them for `fit`.

    Args:
        x: Array or dataset of images, with or without labels.
        y: Labels. They are ignored, but must not be images.
        value_range: (lower, upper) that the model expects.
        batch_size: Images per batch, for arrays. Defaults to 256, or with fewer images to the
            largest power of two that gives a full batch.
        seed: Seed for shuffling an array. Defaults to None: no shuffling.
        steps_per_epoch: Batches per epoch. Defaults to one pass over the data.
        micro_batch_size: Images that a device processes at a time, or None for all.

    Returns:
        `PreparedData`.

    Raises:
        ValueError: If the images cannot be trained on.
    """
    check_no_views(y)
    if steps_per_epoch is not None:
        check_positive_integer("steps_per_epoch", steps_per_epoch)
    if not is_array(x):
        check_no_batch_size(x, batch_size)
        if not isinstance(x, FileDataset):
            return _prepare_dataset(x, value_range, steps_per_epoch, micro_batch_size)
    images, count, batch_size = _looked_at(x, value_range, batch_size)
    check_two_images(count, batch_size)
    check_shards(images[:1], batch_size, micro_batch_size, count)
    plan = {
        "batch_size": batch_size,
        "seed": seed,
        "drop_remainder": True,
        "steps_per_epoch": steps_per_epoch,
        "shard": distribution.data_shard(),
    }
    if isinstance(x, FileDataset):
        data = x.planned(images_only=True, **plan)
    else:
        data = ArrayDataset(images, **plan, resident=resident_images(images))
    return PreparedData(data, images[:1], batch_size, len(data))


def _looked_at(x, value_range, batch_size):
    """Return checked images (all of an array, some of files), their number and the batch size."""
    if isinstance(x, FileDataset):
        images, count, batch_size = x.first_images(), len(x.images), x.batch_size
    else:
        images = to_numpy(x)
        count = len(images)
    check_images(images, value_range)
    return images, count, checked_batch_size(batch_size, count)


def _prepare_dataset(dataset, value_range, steps_per_epoch, micro_batch_size):
    batch, images, dataset = checked_first_batch(dataset, value_range)
    batch_size = len(images)
    if batch_size == 1:
        raise ValueError(
            "The batches of a dataset must have at least 2 images, since each image is compared "
            "with the others. Received: a first batch of 1 image. Batch the dataset, for example "
            "with a batch size of 256."
        )
    check_shards(images, batch_size, micro_batch_size)
    steps = steps_per_epoch or num_usable_batches(dataset, batch_size)
    if distribution.num_devices() > 1:
        data = _sharded(dataset, check_known_length(steps), batch_size)
    else:
        data = _repeated(dataset, steps_per_epoch, batch, images_only=True)
    return PreparedData(data, images, batch_size, steps)


def _sharded(dataset, steps, batch_size):
    shard = distribution.data_shard()
    return RepeatedDataset(dataset, steps, batch_size=batch_size, shard=shard, images_only=True)


def _repeated(dataset, steps_per_epoch, batch, images_only=False):
    """Return a dataset that Keras can read and that does not end before training does."""
    known = num_batches(dataset)
    ends_by_itself = known is None and steps_per_epoch is None
    if is_read_once(dataset) or ends_by_itself:
        return dataset
    if steps_per_epoch in (None, known) and _keras_knows_length(dataset, batch):
        return dataset
    if is_tf_dataset(dataset):
        return dataset.repeat()
    return RepeatedDataset(dataset, steps_per_epoch or known, images_only=images_only)


def _keras_knows_length(dataset, batch):
    """Return whether Keras can read a dataset of known length, and its length, directly."""
    if is_torch_loader(dataset):  # from which Keras accepts only tuples
        return isinstance(batch, (tuple, list))
    return is_tf_dataset(dataset) or isinstance(dataset, keras.utils.PyDataset)


def prepare_evaluation_data(
    x,
    value_range,
    batch_size=None,
    labels=None,
    sample_weight=None,
    *,
    sharded=True,
    micro_batch_size=None,
):
    """Check images and prepare them for one pass in order.

    On several devices, an incomplete batch is dropped.

    Args:
        x: Array or dataset of images.
        value_range: (lower, upper) that the model expects.
        batch_size: Images per batch, for arrays. Defaults to 256, or fewer for fewer images.
        labels: Labels of the images, for arrays. Defaults to None.
        sample_weight: Weights of the images, for arrays. Defaults to None.
        sharded: Whether each batch is sharded over several devices. Defaults to True.
        micro_batch_size: Images that a device processes at a time, or None for all.

    Returns:
        `PreparedData`.

    Raises:
        ValueError: If the images are invalid.
    """
    num_devices = distribution.num_devices() if sharded else 1
    if not is_array(x):
        check_no_batch_size(x, batch_size)
        if not isinstance(x, FileDataset):
            return _prepare_evaluation_dataset(x, value_range, num_devices, micro_batch_size)
    images, count, used = _looked_at(x, value_range, batch_size)
    if num_devices > 1:
        multiple = num_devices * (micro_batch_size or 1)
        files = isinstance(x, FileDataset)
        used = sharded_batch_size(count, used if files else batch_size, multiple)
        check_shards(images[:1], used, micro_batch_size, count)
    plan = {
        "batch_size": used,
        "drop_remainder": num_devices > 1,
        "shard": distribution.data_shard() if sharded else (0, 1),
    }
    if isinstance(x, FileDataset):
        data = x.planned(**plan)
    else:
        data = ArrayDataset(images, labels, sample_weight, **plan)
    return PreparedData(data, images[:1], used, len(data))


def _prepare_evaluation_dataset(dataset, value_range, num_devices, micro_batch_size):
    batch, images, dataset = checked_first_batch(dataset, value_range)
    own = isinstance(dataset, EpochDataset)
    if num_devices > 1 and not own:
        check_shards(images, len(images), micro_batch_size)
        steps = check_known_length(num_usable_batches(dataset, len(images)))
        shard = distribution.data_shard()
        dataset = RepeatedDataset(dataset, steps, batch_size=len(images), shard=shard)
    else:
        dataset = _repeated(dataset, None, batch)
    return PreparedData(dataset, images, len(images), num_batches(dataset))


def checked_first_batch(dataset, value_range):
    """Return the first batch of a dataset, its checked images, and the dataset itself.

    Raises:
        ValueError: If there are no batches, or the images are invalid.
    """
    batch, dataset = first_batch(dataset)
    if isinstance(batch, (tuple, list)):
        check_no_views(*batch[1:2])
    images = images_as_numpy(batch)
    check_images(images, value_range)
    return batch, images, dataset


def num_usable_batches(dataset, batch_size):
    """Return the number of batches that are used, or None if it is unknown or infinite.

    On several devices, only batches of exactly `batch_size` images are used.
    """
    if distribution.num_devices() == 1:
        return num_batches(dataset)
    return num_full_batches(dataset, batch_size)


def check_known_length(steps):
    """Return `steps`, or raise a ValueError if it is None."""
    if steps is None:
        raise ValueError(
            "The number of batches per epoch must be known. Received: a dataset of unknown length. "
            "Pass `steps_per_epoch`."
        )
    return steps
