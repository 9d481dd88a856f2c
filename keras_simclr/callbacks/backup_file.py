"""Files of arrays and a record, in which any damage is found."""

import contextlib
import io
import json
import os
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from keras_simclr.files import replacing

RECORD = "record.json"
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    UnicodeError,
    ValueError,
)


class DamagedFileError(ValueError):
    """A file that is incomplete, or whose checksums are wrong."""


def write_backup(path: str | os.PathLike, arrays: dict[str, np.ndarray], record: dict) -> None:
    """Write arrays and a record atomically to a zip file, which contains their checksums.

    Args:
        path: Path of the file.
        arrays: Arrays by name.
        record: Anything that JSON can represent.

    Raises:
        OSError: If the file cannot be written, for example to a full disk.
    """
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        archive.writestr(RECORD, json.dumps({**record, "arrays": list(arrays)}))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)


def read_backup(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and record from a file of `write_backup`. No code in it is run.

    Returns:
        Arrays by name, and the record.

    Raises:
        DamagedFileError: If the file is damaged.
        OSError: If the file cannot be opened.
    """
    with _opened(path) as archive:
        record = json.loads(archive.read(RECORD))
        arrays = {name: _read_array(archive, name) for name in record.pop("arrays")}
    return arrays, record


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Read only the record from a file of `write_backup`.

    Raises:
        DamagedFileError: If the file is damaged.
        OSError: If the file cannot be opened.
    """
    with _opened(path) as archive:
        return json.loads(archive.read(RECORD))


@contextlib.contextmanager
def _opened(path):
    """Open a zip file; whatever shows in the context that it is damaged is a DamagedFileError."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except DAMAGE as error:
            raise DamagedFileError(f"{path} is damaged ({error}).") from error


def _read_array(archive, name):
    # Reading the whole member checks its CRC-32.
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
