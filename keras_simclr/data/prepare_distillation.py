"""Preparation of images, of which some may have labels, for distillation."""

import dataclasses
from typing import Any

import numpy as np

from keras_simclr.data.array_dataset import ArrayDataset
from keras_simclr.data.batch_size import check_no_batch_size, check_two_images, checked_batch_size
from keras_simclr.data.image_checks import check_images, check_no_views
from keras_simclr.data.inspection import is_array, to_image_batch, to_numpy
from keras_simclr.data.labels import check_labels
from keras_simclr.data.prepare import check_known_length, checked_first_batch, num_usable_batches
from keras_simclr.data.repeated_dataset import RepeatedDataset
from keras_simclr.validation import check_positive_integer

UNLABELED = -1  # label of an image without one, as in scikit-learn
NUM_EXAMPLES = 32


@dataclasses.dataclass(frozen=True)
class DistillationData:
    """Images that have been checked and prepared for distillation.

    Args:
        source: (images, labels or None) as arrays, or a dataset.
        example: First images, a NumPy array.
        batch_size: Images per batch.
        steps_per_epoch: Batches per epoch.
        use_labels: Whether batches contain labels.
        seed: Seed for shuffling an array, or None for no shuffling.
    """

    source: Any
    example: np.ndarray
    batch_size: int
    steps_per_epoch: int
    use_labels: bool
    seed: int | None

    def make_dataset(self, transform):
        """Return a dataset for Keras; `transform` is a function of (images, step), or None."""
        if not isinstance(self.source, tuple):
            images_only = not self.use_labels
            options = {"transform": transform, "images_only": images_only}
            return RepeatedDataset(self.source, self.steps_per_epoch, **options)
        return ArrayDataset(
            *self.source,
            batch_size=self.batch_size,
            seed=self.seed,
            drop_remainder=True,
            steps_per_epoch=self.steps_per_epoch,
            transform=transform,
        )


def prepare_distillation_data(
    x, y, value_range, num_classes, *, use_labels, batch_size=None, steps_per_epoch=None, seed=None
):
    """Check images, and labels if they are used, and prepare them for distillation.

    Args:
        x: Array or dataset of images, with or without labels.
        y: Labels, for arrays: integers, -1 for images without one; or None.
        value_range: (lower, upper) that the models expect.
        num_classes: Number of classes.
        use_labels: Whether the labels are used.
        batch_size: Images per batch, for arrays. Defaults to 256, or with fewer images to the
            largest power of two that gives a full batch.
        steps_per_epoch: Batches per epoch. Defaults to one pass over the data.
        seed: Seed for shuffling an array. Defaults to None: no shuffling.

    Returns:
        `DistillationData`.

    Raises:
        ValueError: If the images or labels cannot be trained on.
    """
    if steps_per_epoch is not None:
        check_positive_integer("steps_per_epoch", steps_per_epoch)
    if not is_array(x):
        check_no_batch_size(x, batch_size)
        return _prepare_dataset(x, y, value_range, num_classes, use_labels, steps_per_epoch)
    check_no_views(y)
    images = to_numpy(x)
    check_images(images, value_range)
    batch_size = checked_batch_size(batch_size, len(images))
    check_two_images(len(images), batch_size)
    labels = _check_labels(y, num_classes, len(images)) if use_labels else None
    return DistillationData(
        source=(images, labels),
        example=to_image_batch(images[:NUM_EXAMPLES]),
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch or len(images) // batch_size,
        use_labels=use_labels,
        seed=seed,
    )


def _prepare_dataset(dataset, y, value_range, num_classes, use_labels, steps_per_epoch):
    if y is not None:
        raise ValueError(
            "`y` is only supported for arrays; a dataset has batches of (images, labels). "
            f"Received: y with {type(dataset).__name__}."
        )
    batch, images, dataset = checked_first_batch(dataset, value_range)
    if use_labels:
        labels = batch[1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None
        _check_labels(labels, num_classes, len(images), is_batch=True)
    steps = steps_per_epoch or check_known_length(num_usable_batches(dataset, len(images)))
    example = to_image_batch(images[:NUM_EXAMPLES])
    return DistillationData(dataset, example, len(images), steps, use_labels, seed=None)


def _check_labels(labels, num_classes, count, is_batch=False):
    """Check the labels of those images that have one, and return all as an integer array."""
    if labels is None:
        raise ValueError(
            "Labels are missing, which `student_loss_weight` weights. Received: images only. Pass "
            "`y`, or a dataset of (images, labels), or leave out `student_loss_weight`."
        )
    labels = to_numpy(np.asarray(labels) if isinstance(labels, (list, tuple)) else labels)
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(
            "Labels must be one integer per image, -1 for an image without a label. Received: "
            f"shape={labels.shape} with {count} images."
        )
    labels = labels.reshape(-1)
    known = labels[labels != UNLABELED]
    if len(known) == 0 and not is_batch:
        raise ValueError(
            f"At least one image must have a label. Received: {count} labels of -1. Leave out "
            "`student_loss_weight`."
        )
    if len(known):
        check_labels(known, num_classes, is_batch=True)
    return labels.astype("int64")
