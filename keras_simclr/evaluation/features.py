"""Features of images, and checks of features and their labels."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_simclr.keras_internals import own_loader_seeds
from keras_simclr.ops.digest import digest
from keras_simclr.ops.fast_layers import fast_layers


@contextlib.contextmanager
def embedding(model: Any = None) -> Iterator[Callable[[Any], Any]]:
    """Return a context with a function from images to the features of a model.

    At the end of the context, the model is verified to be unchanged.

    Args:
        model: A `SimCLR`, an encoder (any `keras.Model` from images to features), or the path of
            a saved one. Defaults to None: the data are features, which the function returns.

    Raises:
        ValueError: If `model` is none of these, or not built.
        RuntimeError: If a weight or a BatchNormalization statistic has changed.
    """
    if model is None:
        yield lambda features: features
        return
    model = load(model)
    with unchanged(model):
        yield functools.partial(_embed, model)


def load(model: Any) -> keras.Model:
    """Return a built `SimCLR` or encoder, loaded if it is given as a path."""
    if isinstance(model, (str, Path)):
        return keras.models.load_model(model, compile=False)
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a `SimCLR`, an encoder, or the path of a saved one. Received: "
            f"{model!r}."
        )
    return model


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Verify that the weights of a `SimCLR`'s encoder, or of an encoder, do not change."""
    encoder = getattr(model, "encoder", model)
    before = digest(*encoder.get_weights())
    yield
    if digest(*encoder.get_weights()) != before:
        raise RuntimeError(
            f"Evaluation must not change the encoder. Received: {model.name!r}, of which a weight "
            "or a BatchNormalization statistic has changed. Look for layers that ignore "
            "`training=False`."
        )


def _embed(model, images):
    # An empty `CallbackList`, as Keras would replace `model.history`.
    callbacks = keras.callbacks.CallbackList()
    with own_loader_seeds(), fast_layers(model):
        features = model.predict(images, verbose=0, callbacks=callbacks)
    return np.asarray(features, "float32")


def check_features(features: Any, name: str = "features") -> np.ndarray:
    """Check features and return them as a float32 array of shape (N, D).

    Args:
        features: Array or tensor of shape (N, D).
        name: Name of the features in error messages.

    Raises:
        ValueError: If the shape is wrong, there are no features, or one of them is not finite.
    """
    features = _to_numpy(features)
    if features.ndim != 2 or features.size == 0:
        raise ValueError(
            f"`{name}` must have shape (N, D), one row per image. Received: "
            f"shape={features.shape}. Use the output of `model.predict(images)`, or pass images "
            "and `model`."
        )
    features = features.astype("float32", copy=False)
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in row {int(np.argmin(finite))}. "
            "Look for damaged images or diverged training."
        )
    return features


def check_labels(labels: Any, count: int, name: str = "features") -> np.ndarray:
    """Check labels and return them as an array of shape (N,).

    Args:
        labels: Array, tensor or list of shape (N,) or (N, 1).
        count: Number N of rows of features.
        name: Name of the features in error messages.

    Raises:
        ValueError: If the shape is wrong.
    """
    labels = _to_numpy(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise ValueError(
            f"There must be one class label for each row of `{name}`. Received: {count} "
            f"rows and labels of shape={labels.shape}. Use `labels.argmax(axis=-1)` if they are "
            "one-hot."
        )
    return labels


def check_same_dimension(one: np.ndarray, other: np.ndarray, names: tuple[str, str]) -> None:
    """Raise a ValueError unless two arrays of features have the same dimension."""
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` must have the same dimension. Received: "
            f"{one.shape[1]} in {names[0]} and {other.shape[1]} in {names[1]}."
        )


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
