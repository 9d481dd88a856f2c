"""Features and their labels, looked at before anything is fitted to them."""

import keras
import numpy as np


def checked_features(features, labels, name="features"):
    """Return features and labels as NumPy arrays, or say what is wrong with them.

    Args:
        features: Array or tensor of shape (N, D).
        labels: Array, tensor or list of shape (N,) or (N, 1).
        name: What to call the features in an error.

    Returns:
        `(features, labels)` of shape (N, D), float32, and (N,).

    Raises:
        ValueError: If shapes or lengths are wrong, there are none, or a value is not finite.
    """
    features, labels = (_to_numpy(array) for array in (features, labels))
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            f"{name} must have the shape (N, D), one row a picture. Received: "
            f"shape={features.shape}. Use what `model.predict(images)` returns."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(features),):
        raise ValueError(
            f"Labels must be one class a row of {name}. Received: {len(features)} rows and labels "
            f"of shape={labels.shape}. Use `labels.argmax(axis=-1)` if they are one-hot."
        )
    features = features.astype("float32")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{name} must be finite. Received: NaN or infinity in row {int(np.argmin(finite))}. "
            "Look for damaged pictures or a training that diverged."
        )
    return features, labels


def classes_of(labels):
    """Return the classes in order and the place of each label among them.

    Raises:
        ValueError: If all labels are the same.
    """
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"At least 2 classes are needed to tell apart. Received: only {classes[0]} in "
            f"{len(labels)} labels."
        )
    return classes, places


def _to_numpy(data):
    if hasattr(data, "shape") and not isinstance(data, np.ndarray):
        return keras.ops.convert_to_numpy(data)
    return np.asarray(data)
