"""PyTorch's checkpoints and safetensors files, of which only arrays are read, never code."""

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
RECORDS = {  # packages whose objects accompany weights and are replaced by empty ones
    "argparse", "classy_vision", "lightly", "lightning", "lightning_fabric", "mmcv", "mmengine",
    "numpy", "omegaconf", "pathlib", "pytorch_lightning", "solo", "torchmetrics", "vissl",
}  # fmt: skip
MAX_RECORDS = 100


def is_safetensors(path: Path) -> bool:
    """Return whether a file starts as a safetensors file does: with the length of its header."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 2**31


def is_pickle(path: Path) -> bool:
    """Return whether `torch.save` may have written a file: a zip, or a pickle as before 1.6."""
    with open(path, "rb") as file:
        start = file.read(4)
    return start == ZIP or start[:1] == PICKLE


def read_safetensors(
    path: Path, wanted: Callable[[str], bool] | None = None
) -> dict[str, np.ndarray]:
    """Read a safetensors file into arrays by name.

    Args:
        path: Path of the file.
        wanted: Function that returns whether an array is read, by its name. Defaults to None.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'safetensors is needed to read this file: pip install "keras-simclr[checkpoints]".'
        ) from error
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if wanted is None or wanted(name)]
            return {name: file.get_tensor(name) for name in names}
    except Exception as error:  # its cause is in the file
        raise _damaged(path, error) from error


def read_pickle(path: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of a file of `torch.save` into arrays by name.

    The names of nested dicts are joined by dots. What is neither a dict nor a tensor is ignored.

    Args:
        path: Path of the file.
        wanted: Function that returns whether an array is read, by its name. Defaults to None.

    Raises:
        ValueError: If the file is damaged, contains code, or is another zip archive.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "PyTorch is needed to read its checkpoints, on any Keras backend: "
            'pip install "keras-simclr[torch]".'
        ) from error
    _check_archive(path)
    content = _load_without_code(torch, path)
    return {
        name: _as_array(torch, tensor)
        for name, tensor in _flatten(content)
        if isinstance(tensor, torch.Tensor) and (wanted is None or wanted(name))
    }


def _check_archive(path):
    """Raise a ValueError if a file is a zip archive that PyTorch did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a pickle, or a damaged archive, which PyTorch reports
        return
    if not any(name.endswith("data.pkl") for name in names):
        raise ValueError(
            "A zip archive must be one of `torch.save`. Received: "
            f"{str(path)!r}, with {', '.join(map(repr, names[:3])) or 'nothing'}. Load a Keras "
            "model with `keras.saving.load_model`; unpack other archives."
        )


def _load_without_code(torch, path):
    """Load a file; where it contains a record of a known package, take an empty object for it."""
    records: dict[str, type] = {}
    with open(path, "rb") as file:
        mmap = file.read(4) == ZIP
    while len(records) < MAX_RECORDS:
        known = [(record, name) for name, record in records.items()]
        try:
            with torch.serialization.safe_globals(known):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except UnpicklingError as error:
            name = _unknown_global(error)
            if name is None:
                raise _damaged(path, error) from error
            if name.split(".")[0] not in RECORDS or name in records:
                raise _contains_code(path, name) from error
            records[name] = type("Record", (_Record,), {})
        except Exception as error:  # its cause is in the file
            raise _damaged(path, error) from error
    raise _contains_code(path, name)


class _Record:
    """An empty object: it takes any arguments and any state, and does nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


def _unknown_global(error):
    """Return the name of the class or function that PyTorch refused, or None."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found and found.group(1)


def _contains_code(path, name):
    return ValueError(
        f"A checkpoint must contain nothing but weights. Received: {str(path)!r}, which asks for "
        f"`{name}` and could run code, so it was not loaded. If you trust it, load it with "
        "`torch.load(path, weights_only=False)` where its own package is installed, and save its "
        "state dict alone."
    )


def _damaged(path, error):
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ValueError(
        f"The file is damaged, or contains no weights. Received: {str(path)!r} ({reason}). "
        "Download it again."
    )


def _flatten(content: Any, prefix: str = ""):
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, content


def _as_array(torch, tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
