"""Labelled pictures, checked and made into what Keras' `fit` takes."""

import dataclasses

import numpy as np

from keras_simclr import distribution
from keras_simclr.training import batches
from keras_simclr.training.checks import check_pictures, check_shares


@dataclasses.dataclass(frozen=True)
class LabelledFeed(batches.Feed):
    """What a classifier is fed with: a `Feed`, and what its labels say.

    Args:
        example: First batch of pictures and labels, as they came.
        num_classes: Number of classes.
        labels: Number of labelled pictures, as far as known.
        one_hot: Whether labels are rows of `num_classes` numbers instead of integers.
        a_pass: Batches in one pass over the data, or None where that is not known.
    """

    example: tuple
    num_classes: int
    labels: int
    one_hot: bool
    a_pass: int | None


def labelled_feed(x, y, value_range, *, num_classes, batch_size, steps, least_steps, seed):
    """Check labelled pictures and make them into a `LabelledFeed`.

    Where `steps` is None, an epoch is one pass over the data, or `least_steps` if that is more.

    Raises:
        ValueError: If pictures or labels cannot be trained on.
    """
    if not batches.is_array(x):
        return _dataset_feed(x, y, value_range, num_classes, batch_size, steps, least_steps)
    images = batches.to_numpy(x)
    check_pictures(images, value_range)
    batch_size = _batch_size(batch_size, len(images))
    labels = check_labels(y, num_classes, count=len(images))
    num_classes = num_classes or _count_classes(labels)
    a_pass = len(images) // batch_size
    check_shares(images[:1], batch_size, count=len(images))
    steps = steps or max(least_steps, a_pass)
    data = batches.ArrayBatches(
        images, labels, batch_size=batch_size, seed=seed, drop_remainder=True, steps=steps
    )
    example = images[:1], labels[:1]
    return LabelledFeed(
        data,
        images[:1],
        batch_size,
        len(data),
        example,
        num_classes,
        len(labels),
        labels.ndim == 2,
        a_pass,
    )


def _batch_size(batch_size, count):
    """Return the batch size that was asked for, or the default, but not more than there is."""
    devices = distribution.devices()
    if count < devices:
        raise ValueError(
            f"Every device must have a picture. Received: {count} pictures, {devices} devices."
        )
    batch_size = batch_size or batches.DEFAULT_BATCH_SIZE
    return batch_size if batch_size <= count else count - count % devices


def _dataset_feed(x, y, value_range, num_classes, batch_size, steps, least_steps):
    if y is not None or batch_size is not None:
        raise ValueError(
            "`y` and `batch_size` go with arrays; a dataset brings its labels and batches. "
            f"Received: both with {type(x).__name__}."
        )
    first, x = batches.first_batch(x)
    if not isinstance(first, (tuple, list)) or len(first) < 2:
        raise ValueError(
            "Fine-tuning needs batches of (pictures, labels). Received: batches of "
            f"{type(first).__name__} without labels."
        )
    images, labels = (batches.to_numpy(part) for part in first[:2])
    check_pictures(images, value_range)
    check_shares(images[:1], len(images))
    a_pass = batches.batches_a_pass(x, len(images))
    num_classes = num_classes or _classes_of_dataset(x, labels)
    check_labels(labels, num_classes, few_classes=True)
    if steps is None and a_pass is None:
        raise ValueError("The length of the dataset is not known. Pass `steps_per_epoch`.")
    return LabelledFeed(
        batches.DatasetBatches(x, len(images)),
        images[:1],
        len(images),
        steps or max(least_steps, a_pass),
        (images, labels),
        num_classes,
        (a_pass or steps) * len(images),
        labels.ndim == 2,
        a_pass,
    )


def _classes_of_dataset(dataset, first):
    names = getattr(dataset, "class_names", None)
    if names:
        return len(names)
    if first.ndim == 2 and first.shape[1] > 1:
        return first.shape[1]
    if batches.number_of_batches(dataset) is None:
        raise ValueError(
            "The number of classes cannot be read off a dataset without a known end. Pass "
            "`num_classes`."
        )
    parts = [batches.to_numpy(batch[1]).reshape(-1) for batch in batches.iter_batches(dataset)]
    return _count_classes(check_labels(np.concatenate(parts)))


def check_labels(labels, num_classes=None, count=None, few_classes=False):
    """Raise a ValueError that names the cure if `labels` cannot be learned.

    Args:
        labels: Integers of shape (N,) or (N, 1), or one-hot rows (N, num_classes).
        num_classes: Number of classes, or None where the labels tell it.
        count: Number of pictures, or None.
        few_classes: Whether labels that are all alike are fine, as in one batch of many.

    Returns:
        The labels as a NumPy array: int64 of shape (N,), or the one-hot rows.

    Raises:
        ValueError: If labels are missing, no numbers, fractional, negative, begin at 1, are all
            alike, too large for `num_classes`, or of another number than the pictures.
    """
    if labels is None:
        raise ValueError(
            "Labels are missing. Pass `fine_tune(pictures, labels)` or a dataset of both."
        )
    labels = batches.to_numpy(np.asarray(labels) if isinstance(labels, (list, tuple)) else labels)
    if labels.ndim > 2:
        raise ValueError(
            f"Labels must be of shape (N,) or (N, num_classes). Received: shape={labels.shape}. "
            "If they are second views: give the pictures only, views are made by the model."
        )
    if count is not None and len(labels) != count:
        raise ValueError(f"Received {count} pictures, but {len(labels)} labels.")
    if labels.dtype.kind not in "iufb":
        raise ValueError(
            f"Labels must be numbers. Received: dtype={labels.dtype}. Use "
            "`names, labels = np.unique(labels, return_inverse=True)`."
        )
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _checked_one_hot(labels, num_classes)
    return _checked_integers(labels.reshape(-1), num_classes, few_classes)


def _checked_one_hot(labels, num_classes):
    if num_classes not in (None, labels.shape[1]):
        raise ValueError(
            f"One-hot labels must have `num_classes` columns. Received: shape={labels.shape}, "
            f"num_classes={num_classes}."
        )
    return labels


def _checked_integers(labels, num_classes, few_classes):
    if not np.all(np.isfinite(labels)) or np.any(labels != np.floor(labels)):
        raise ValueError(
            f"Labels must be whole numbers. Received: {labels[labels != np.floor(labels)][:3]}."
        )
    lowest, highest = int(labels.min()), int(labels.max())
    received = f"Received: labels from {lowest} to {highest}, num_classes={num_classes}."
    if lowest < 0:
        raise ValueError(f"Labels must not be negative. {received} Leave unlabelled pictures out.")
    if lowest == 1 and num_classes is None:
        raise ValueError(
            f"Labels must begin at 0. {received} Pass `labels - 1`, or `num_classes` if class 0 "
            "just has no picture here."
        )
    if lowest == highest and not few_classes:
        raise ValueError(f"At least 2 classes are needed to tell apart. {received}")
    if num_classes is not None and highest >= num_classes:
        raise ValueError(f"Labels must be below `num_classes`. {received}")
    return labels.astype("int64")


def _count_classes(labels):
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
