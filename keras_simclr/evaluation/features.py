"""Checks of features and their labels."""

from typing import Any

import keras
import numpy as np


def check_features(
    features: Any, labels: Any, name: str = "features"
) -> tuple[np.ndarray, np.ndarray]:
    """Check features and labels, and return them as NumPy arrays.

    Args:
        features: Array or tensor of shape (N, D).
        labels: Array, tensor or list of shape (N,) or (N, 1).
        name: Name of the features in error messages.

    Returns:
        `(features, labels)` of shape (N, D), float32, and (N,).

    Raises:
        ValueError: If a shape is wrong, there are no features, or one of them is not finite.
    """
    features, labels = (_to_numpy(array) for array in (features, labels))
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            f"`{name}` must have shape (N, D), one row per image. Received: "
            f"shape={features.shape}. Use the output of `model.predict(images)`."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(features),):
        raise ValueError(
            f"There must be one class label for each row of `{name}`. Received: {len(features)} "
            f"rows and labels of shape={labels.shape}. Use `labels.argmax(axis=-1)` if they are "
            "one-hot."
        )
    features = features.astype("float32")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in row {int(np.argmin(finite))}. "
            "Look for damaged images or diverged training."
        )
    return features, labels


def encode_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes, and for each label the index of its class.

    Raises:
        ValueError: If all labels are the same.
    """
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"The labels must have at least 2 classes. Received: only {classes[0]} in "
            f"{len(labels)} labels."
        )
    return classes, indices


def _to_numpy(data):
    if hasattr(data, "shape") and not isinstance(data, np.ndarray):
        return keras.ops.convert_to_numpy(data)
    return np.asarray(data)
