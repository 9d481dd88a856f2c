"""Preparation of labeled images for fine-tuning."""

import dataclasses
from typing import Any

from keras_simclr import distribution
from keras_simclr.data.array_dataset import ArrayDataset
from keras_simclr.data.batch_size import DEFAULT_BATCH_SIZE, check_no_batch_size, check_shards
from keras_simclr.data.file_dataset import FileDataset
from keras_simclr.data.image_checks import check_channels, check_images
from keras_simclr.data.inspection import (
    first_batch,
    is_array,
    iterate_batches,
    to_image_batch,
    to_numpy,
)
from keras_simclr.data.labels import check_labels, check_weights, classes_of_dataset, count_classes
from keras_simclr.data.prepare import (
    check_known_length,
    num_usable_batches,
    prepare_evaluation_data,
)
from keras_simclr.data.repeated_dataset import RepeatedDataset
from keras_simclr.validation import check_positive_integer


@dataclasses.dataclass(frozen=True)
class LabeledData:
    """Labeled images that have been checked and prepared for Keras.

    Args:
        source: (images, labels, sample weights or None) as arrays, files, or a dataset.
        example: First images and their labels, as NumPy arrays.
        batch_size: Global batch size.
        steps_per_epoch: Batches per epoch.
        steps_per_pass: Batches in one pass over the data, or None if unknown.
        num_labels: Number of labeled images; an estimate for datasets.
        num_classes: Number of classes.
        seed: Seed for shuffling an array, or None for no shuffling.
    """

    source: Any
    example: tuple
    batch_size: int
    steps_per_epoch: int
    steps_per_pass: int | None
    num_labels: int
    num_classes: int
    seed: int | None = None

    @property
    def is_array(self):
        """Whether the images are an array or files, which this package puts in order."""
        return isinstance(self.source, (tuple, FileDataset))

    @property
    def images(self):
        """All images, with shape and dtype, or the first ones of a dataset."""
        return self._in_order(1).images if self.is_array else self.example[0]

    @property
    def targets(self):
        """Labels and sample weights, if there are any, or nothing for a dataset."""
        return self._in_order(1).targets if self.is_array else []

    def fingerprint(self):
        """Return an array that changes with the images."""
        return self._in_order(1).fingerprint()

    @property
    def one_hot(self):
        """Whether labels are rows of `num_classes` numbers rather than integers."""
        return self.example[1].ndim == 2

    def make_dataset(self, transform=None):
        """Return a dataset for Keras with this process's shard of every batch.

        Args:
            transform: Function of (images, step), applied to every batch. Defaults to None.
        """
        shard = distribution.data_shard()
        if self.is_array:
            return self._in_order(self.steps_per_epoch, transform=transform, shard=shard)
        full_only = self.batch_size if distribution.num_devices() > 1 else None
        return RepeatedDataset(
            self.source,
            self.steps_per_epoch,
            batch_size=full_only,
            transform=transform,
            shard=shard,
        )

    def one_pass(self):
        """Return an iterator over the untransformed batches of one pass, the last one included."""
        if self.is_array:
            return iterate_batches(self._in_order(None, drop_remainder=False))
        return ([to_numpy(array) for array in batch] for batch in iterate_batches(self.source))

    def _in_order(self, steps_per_epoch, **options):
        plan = {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "drop_remainder": True,
            "steps_per_epoch": steps_per_epoch,
            **options,
        }
        if isinstance(self.source, FileDataset):
            return self.source.planned(**plan)
        return ArrayDataset(*self.source, **plan)


def prepare_labeled_data(
    x,
    y,
    sample_weight,
    value_range,
    *,
    num_classes=None,
    multi_label=False,
    batch_size=None,
    steps_per_epoch=None,
    min_steps=1,
    seed=None,
):
    """Check labeled images and prepare them for `fit`.

    Args:
        x: Array of images, or a dataset of batches of (images, labels).
        y: Labels, for arrays.
        sample_weight: Weights of the images, of shape (N,), for arrays; or None.
        value_range: (lower, upper) that the model expects.
        num_classes: Number of classes. Defaults to None: determined by the data.
        multi_label: Whether an image may have several classes or none. Defaults to False.
        batch_size: Images per batch, for arrays. Defaults to 256, or all images if there are fewer.
        steps_per_epoch: Batches per epoch. Defaults to one pass over the data, but at least
            `min_steps`.
        min_steps: Minimum number of steps per epoch if `steps_per_epoch` is None. Defaults to 1.
        seed: Seed for shuffling an array. Defaults to None: no shuffling.

    Returns:
        `LabeledData`.

    Raises:
        ValueError: If the images or labels cannot be trained on.
    """
    if steps_per_epoch is not None:
        check_positive_integer("steps_per_epoch", steps_per_epoch)
    if num_classes is not None:
        check_positive_integer("num_classes", num_classes, min_=1 if multi_label else 2)
    options = {"num_classes": num_classes, "multi_label": multi_label}
    if not is_array(x):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "`y` and `sample_weight` are only supported for arrays; a dataset has batches of "
                f"(images, labels, sample weights). Received: one of them with {type(x).__name__}."
            )
        check_no_batch_size(x, batch_size)
        if not isinstance(x, FileDataset):
            return _prepare_dataset(x, value_range, steps_per_epoch, min_steps, **options)
    images, count = _looked_at(x)
    check_images(images, value_range)
    if isinstance(x, FileDataset):
        y, num_classes = (x.targets or [None])[0], num_classes or len(x.class_names) or None
        batch_size = x.batch_size
    batch_size = _batch_size(batch_size, count)
    labels = check_labels(y, num_classes, count=count, multi_label=multi_label)
    check_shards(images[:1], batch_size, count=count)
    arrays = (images, labels, check_weights(sample_weight, count))
    steps_per_pass = count // batch_size
    return LabeledData(
        source=x if isinstance(x, FileDataset) else arrays,
        example=(images[:1], labels[:1]),
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch or max(min_steps, steps_per_pass),
        steps_per_pass=steps_per_pass,
        num_labels=len(labels),
        num_classes=num_classes or count_classes(labels),
        seed=seed,
    )


def _looked_at(x):
    """Return images, all of an array or some of files, and their number."""
    if isinstance(x, FileDataset):
        return x.first_images(), len(x.images)
    images = to_numpy(x)
    return images, len(images)


def _prepare_dataset(dataset, value_range, steps_per_epoch, min_steps, num_classes, multi_label):
    batch, dataset = first_batch(dataset)
    images, labels = _images_and_labels(batch, "Fine-tuning")
    check_images(images, value_range)
    check_shards(images[:1], len(images))
    steps_per_pass = num_usable_batches(dataset, len(images))
    num_classes = num_classes or classes_of_dataset(dataset, labels)
    labels = check_labels(labels, num_classes, is_batch=True, multi_label=multi_label)
    if steps_per_epoch is None:
        steps_per_epoch = max(min_steps, check_known_length(steps_per_pass))
    return LabeledData(
        source=dataset,
        example=(to_image_batch(images), labels),
        batch_size=len(images),
        steps_per_epoch=steps_per_epoch,
        steps_per_pass=steps_per_pass,
        num_labels=(steps_per_pass or steps_per_epoch) * len(images),
        num_classes=num_classes,
    )


def prepare_validation_data(data, labeled, value_range, batch_size=None, *, multi_label=False):
    """Check labeled images and prepare them for validation after each epoch.

    Args:
        data: (images, labels), (images, labels, sample weights), or a dataset of such batches.
        labeled: The `LabeledData` used for training.
        value_range: (lower, upper) that the model expects.
        batch_size: Images per batch, for arrays. Defaults to 256, or fewer for fewer images.
        multi_label: Whether an image may have several classes or none. Defaults to False.

    Returns:
        Data that Keras accepts as `validation_data`.

    Raises:
        ValueError: If the images or labels are invalid.
    """
    if not isinstance(data, (tuple, list)):
        _check_same_classes(labeled.source, data)
        if isinstance(data, FileDataset):
            labels = (data.targets or [None])[0]
        else:
            batch, data = first_batch(data)
            _, labels = _images_and_labels(batch, "Validation")
        _check_validation_labels(labels, labeled, multi_label)
        prepared = prepare_evaluation_data(data, value_range)
    else:
        images, labels, *weights = data
        labels = _check_validation_labels(labels, labeled, multi_label, len(images))
        weights = [check_weights(weight, len(images)) for weight in weights]
        prepared = prepare_evaluation_data(images, value_range, batch_size, labels, *weights)
    check_channels(prepared.first.shape, labeled.example[0].shape[-1])
    return prepared.data


def _images_and_labels(batch, purpose):
    """Return images and labels of a batch of (images, labels, ...) as NumPy arrays."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ValueError(
            f"{purpose} needs batches of (images, labels). Received: batches of "
            f"{type(batch).__name__} without labels."
        )
    return tuple(to_numpy(array) for array in batch[:2])


def _check_validation_labels(labels, labeled, multi_label, count=None):
    labels = check_labels(
        labels, labeled.num_classes, count, is_batch=True, multi_label=multi_label
    )
    if labeled.one_hot != (labels.ndim == 2):
        raise ValueError(
            "Training and validation labels must have the same form. Received: shape "
            f"{labeled.example[1].shape[1:]} per image in training, {labels.shape[1:]} in "
            "validation."
        )
    return labels


def _check_same_classes(training, validation):
    names, others = (getattr(data, "class_names", None) for data in (training, validation))
    if names and others and list(names) != list(others):
        raise ValueError(
            "Training and validation must have the same classes. Received: "
            f"{list(others)[:10]} in validation instead of {list(names)[:10]}. Pass "
            "`class_names=` of the training data where you load the validation data."
        )


def _batch_size(batch_size, count):
    """Return `batch_size` or the default, limited to the number of images."""
    num_devices = distribution.num_devices()
    if count < num_devices:
        raise ValueError(
            f"There must be at least one image per device. Received: {count} images, {num_devices} "
            "devices."
        )
    if batch_size is None:
        batch_size = DEFAULT_BATCH_SIZE
    check_positive_integer("batch_size", batch_size)
    return batch_size if batch_size <= count else count - count % num_devices
