"""Checks of labels, and the number of classes."""

import numpy as np

from keras_simclr.data.inspection import iterate_batches, num_batches, to_numpy

SUM_TOLERANCE = 1e-3  # how far the sum of a one-hot or soft label may be from 1


def check_labels(labels, num_classes=None, count=None, *, is_batch=False, multi_label=False):
    """Check labels and return them as a NumPy array.

    Args:
        labels: Integers of shape (N,) or (N, 1), or rows (N, num_classes): one-hot, or with
            `multi_label` any number of ones per row.
        num_classes: Number of classes. Defaults to None: determined by the labels.
        count: Number of images, or None if unknown.
        is_batch: Whether these are the labels of one batch, which may contain a single class.
            Defaults to False.
        multi_label: Whether an image may have several classes or none. Defaults to False.

    Returns:
        Array of shape (N,), int64, or (N, num_classes), float32.

    Raises:
        ValueError: If labels are missing, not numbers, fractional, negative, start at 1, are all
            the same, are too large for `num_classes`, do not match the number of images, or are
            rows that do not sum to 1.
    """
    if labels is None:
        raise ValueError(
            "Fine-tuning needs labels. Received: images without labels. Call "
            "`fine_tune(images, labels)`, or pass a dataset of both."
        )
    labels = to_numpy(np.asarray(labels) if isinstance(labels, (list, tuple)) else labels)
    if labels.ndim not in (1, 2):
        raise ValueError(
            f"Labels must have shape (N,) or (N, num_classes). Received: shape={labels.shape}. "
            "If they are second views, pass only the images; the model creates the views."
        )
    if count is not None and len(labels) != count:
        raise ValueError(
            f"There must be one label per image. Received: {count} images and {len(labels)} labels."
        )
    if labels.dtype.kind not in "iufb":
        raise ValueError(
            f"Labels must be numbers. Received: dtype={labels.dtype}. Use "
            "`names, labels = np.unique(labels, return_inverse=True)`."
        )
    if multi_label:
        return _check_multi_label(labels, num_classes)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _check_one_hot(labels, num_classes)
    return _check_integers(labels.reshape(-1), num_classes, is_batch)


def count_classes(labels):
    """Return the number of classes of labels from `check_labels`."""
    return labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1


def classes_of_dataset(dataset, labels):
    """Return the number of classes of a dataset whose first batch has the labels `labels`.

    Raises:
        ValueError: If counting the classes would take a full pass over a dataset of unknown or
            infinite length.
    """
    names = getattr(dataset, "class_names", None)
    if names:
        return len(names)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.shape[1]
    if num_batches(dataset) is None:
        raise ValueError(
            "The number of classes must be known. Received: "
            f"{type(dataset).__name__} of unknown length. Pass `num_classes`."
        )
    parts = [to_numpy(batch[1]).reshape(-1) for batch in iterate_batches(dataset)]
    return count_classes(check_labels(np.concatenate(parts)))


def _check_rows(labels, num_classes):
    if num_classes not in (None, labels.shape[1]):
        raise ValueError(
            f"Label rows must have `num_classes` columns. Received: shape={labels.shape}, "
            f"num_classes={num_classes}."
        )
    if not np.all((labels >= 0) & (labels <= 1)):
        raise ValueError(
            "Label rows must contain numbers in [0, 1]. Received: values from "
            f"{labels.min()} to {labels.max()}."
        )
    return labels.astype("float32")


def _check_one_hot(labels, num_classes):
    rows = _check_rows(labels, num_classes)
    wrong = np.flatnonzero(np.abs(rows.sum(axis=1) - 1) > SUM_TOLERANCE)
    if len(wrong):
        raise ValueError(
            "Each row of one-hot labels must sum to 1. Received: "
            f"{labels[wrong[0]].tolist()} in row {wrong[0]}. Pass `multi_label=True` if an image "
            "may have several classes or none."
        )
    return rows


def _check_multi_label(labels, num_classes):
    if labels.ndim != 2:
        raise ValueError(
            "With `multi_label=True`, labels must be rows of zeros and ones, (N, num_classes). "
            f"Received: shape={labels.shape}."
        )
    return _check_rows(labels, num_classes)


def _check_integers(labels, num_classes, is_batch):
    wrong = labels[~np.isfinite(labels) | (labels != np.floor(labels))]
    if len(wrong):
        raise ValueError(f"Labels must be integers. Received: {wrong[:3].tolist()}.")
    lowest, highest = int(labels.min()), int(labels.max())
    received = f"Received: labels from {lowest} to {highest}, num_classes={num_classes}."
    if lowest < 0:
        raise ValueError(f"Labels must not be negative. {received} Remove unlabeled images.")
    if lowest == 1 and num_classes is None:
        raise ValueError(
            f"Labels must start at 0. {received} Pass `labels - 1`, or `num_classes` if class 0 "
            "has no images."
        )
    if lowest == highest and not is_batch:
        raise ValueError(f"Labels must contain at least 2 classes. {received}")
    if num_classes is not None and highest >= num_classes:
        raise ValueError(f"Labels must be below `num_classes`. {received}")
    return labels.astype("int64")


def check_weights(weights, count):
    """Return the weights of images, one non-negative number for each, or None, as float32."""
    if weights is None:
        return None
    weights = to_numpy(np.asarray(weights) if isinstance(weights, (list, tuple)) else weights)
    if weights.shape != (count,) or not np.all(np.isfinite(weights)) or weights.min() < 0:
        raise ValueError(
            "`sample_weight` must be one non-negative number per image. Received: shape="
            f"{weights.shape} with {count} images."
        )
    return weights.astype("float32")
