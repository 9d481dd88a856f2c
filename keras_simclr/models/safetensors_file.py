"""Models in safetensors files: the weights by name, and the config to create the model again."""

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_simclr.files import replacing

CONFIG = "keras_config"  # names of entries of the file's metadata
NAMES = "keras_weights"
PRETRAINED = "pretrained"
PLANNED_EPOCHS = "planned_epochs"
MISSING = 'The package `safetensors` is missing. Run `pip install "keras-simclr[checkpoints]"`.'


def to_safetensors(model: keras.Model, filepath: str | os.PathLike) -> None:
    """Save the weights and the config of a model in a safetensors file.

    Each tensor has the name of its variable's `path`, as in "conv2d/kernel". The metadata has the
    model's config, with which `from_safetensors` creates it again.

    Args:
        model: Any built Keras model, such as a `SimCLR`, an encoder or a classifier.
        filepath: Path of the file, which ends with ".safetensors".

    Raises:
        ValueError: If the model is not built, or the path ends differently.
        ImportError: If safetensors is missing.

    Example:
    >>> import tempfile
    >>> file = tempfile.mkdtemp() + "/encoder.safetensors"
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> to_safetensors(encoder, file)
    >>> from_safetensors(file).output_shape
    (None, 2)
    """
    save_file = safetensors_functions()[0]
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            f"`model` must be a Keras model that is built. Received: {model!r}. Call it on images "
            "first."
        )
    _check_suffix(filepath)
    config = json.loads(model.to_json())
    config.pop("compile_config", None)
    names = _unique_names(model)
    arrays = (keras.ops.convert_to_numpy(weight) for weight in model.weights)
    metadata = {
        "format": "keras",
        CONFIG: json.dumps(config),
        NAMES: json.dumps(names),
        PRETRAINED: json.dumps(getattr(model, PRETRAINED, False)),
        PLANNED_EPOCHS: json.dumps(getattr(model, PLANNED_EPOCHS, None)),
    }
    with replacing(filepath) as unfinished:
        tensors = dict(zip(names, map(np.ascontiguousarray, arrays), strict=True))
        save_file(tensors, unfinished, metadata)


def from_safetensors(filepath: str | os.PathLike) -> keras.Model:
    """Create the model of a file written by `to_safetensors`, on any backend.

    Args:
        filepath: Path of the file.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: If the file has no config of a Keras model, or is damaged.
        ImportError: If safetensors is missing.
    """
    safe_open = safetensors_functions()[1]
    _check_suffix(filepath)
    try:
        with safe_open(filepath, "numpy") as file:
            metadata = file.metadata() or {}
            _check_metadata(metadata, filepath)
            weights = [file.get_tensor(name) for name in json.loads(metadata[NAMES])]
    except (ValueError, FileNotFoundError):
        raise
    except Exception as error:  # a `SafetensorError`
        raise ValueError(
            f"This is not a complete safetensors file. Received: {filepath}, which raised "
            f"{type(error).__name__}: {error}. Copy or download it again."
        ) from error
    model = keras.models.model_from_json(metadata[CONFIG])
    model.set_weights(weights)
    if json.loads(metadata[PRETRAINED]):
        model.pretrained = True
    if epochs := json.loads(metadata[PLANNED_EPOCHS]):
        model.plan_epochs(epochs)
    return model


def safetensors_functions() -> tuple[Any, Any]:
    """Return the functions that save and open a file, or raise an ImportError with the cure."""
    try:
        from safetensors import safe_open
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError(MISSING) from error
    return save_file, safe_open


def _check_suffix(filepath):
    if Path(filepath).suffix != ".safetensors":
        raise ValueError(f"`filepath` must end with '.safetensors'. Received: {filepath}.")


def _check_metadata(metadata, filepath):
    if {CONFIG, NAMES, PRETRAINED, PLANNED_EPOCHS} - set(metadata):
        raise ValueError(
            "The file must have been written by `to_safetensors`. Received: "
            f"{filepath}, whose metadata has {sorted(metadata)}. Create the model and set its "
            "weights by name."
        )


def _unique_names(model):
    """Return the paths of the weights; those of several weights are numbered."""
    paths = [weight.path for weight in model.weights]
    return [
        path if paths.count(path) == 1 else f"{path}:{paths[: index + 1].count(path)}"
        for index, path in enumerate(paths)
    ]
