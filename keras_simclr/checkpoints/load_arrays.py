"""A checkpoint of any format as NumPy arrays by name."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_simclr.checkpoints import pytorch, tensorflow


def load_arrays(
    path: str | os.PathLike, wanted: Callable[[str], bool] | None = None
) -> dict[str, np.ndarray]:
    """Load the arrays of a checkpoint; its content decides how it is read.

    TensorFlow formats need TensorFlow, PyTorch files PyTorch, on any Keras backend, and safetensors
    files neither. No code from a file is run.

    Args:
        path: A TensorFlow checkpoint (its prefix, such as "model.ckpt-250228", or its folder), the
            folder of a TF1 hub module or of a SavedModel, a file written by `torch.save` (.pth,
            .pt, .ckpt, .tar), or a safetensors file.
        wanted: Function that returns whether to load an array, given its name. Defaults to None:
            all arrays.

    Returns:
        Arrays by name. The variables of a SavedModel are named by their attributes in its object
        graph, such as "model/resnet_model/block_groups/0/..."; nested dicts of PyTorch are named
        "state_dict.conv1.weight".

    Raises:
        FileNotFoundError: If there is no such checkpoint, or a part of it is missing.
        ValueError: If the file is damaged, of an unknown format, or contains code.
        ModuleNotFoundError: If the library of the format is not installed.

    Example:
    >>> import tempfile
    >>> from safetensors.numpy import save_file
    >>> path = tempfile.mkdtemp() + "/weights.safetensors"
    >>> save_file({"fc.bias": np.zeros(3, "float32")}, path)
    >>> load_arrays(path)
    {'fc.bias': array([0., 0., 0.], dtype=float32)}
    """
    path = Path(path)
    prefix = tensorflow.checkpoint_prefix(path)
    if prefix is not None:
        return tensorflow.read_arrays(prefix, wanted)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no checkpoint. Received: {str(path)!r}, which does not exist. Check the "
            "path."
        )
    if path.is_dir():
        raise FileNotFoundError(
            f"The folder {str(path)!r} contains no checkpoint. It must contain a file "
            "`checkpoint`, one file that ends in .index, or a `saved_model.pb` and `variables`. "
            f"Received: {sorted(entry.name for entry in path.iterdir())[:10]}."
        )
    if path.suffix == ".safetensors" or pytorch.is_safetensors(path):
        return pytorch.read_safetensors(path, wanted)
    if pytorch.is_pickle(path):
        return pytorch.read_pickle(path, wanted)
    raise ValueError(
        "The file must be a checkpoint of TensorFlow or PyTorch, or a safetensors file. Received: "
        f"{str(path)!r}, which is none of them, or damaged."
    )
