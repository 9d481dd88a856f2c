"""Files of arrays and a record, with checksums that reveal any damage."""

import contextlib
import io
import json
import os
import zipfile
from typing import Any

import numpy as np

from keras_simclr.files import replacing

RECORD = "record.json"


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
        record = _read_record(archive)
        arrays = {name: _read_array(archive, name) for name in record.pop("arrays")}
    return arrays, record


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Read only the record from a file of `write_backup`.

    Raises:
        DamagedFileError: If the file is damaged.
        OSError: If the file cannot be opened.
    """
    with _opened(path) as archive:
        return _read_record(archive)


@contextlib.contextmanager
def _opened(path):
    """Open a zip file; an error in the context that the file causes becomes a DamagedFileError.

    Nothing is extracted to disk, and a file that would take more memory than it is long is refused.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_sizes(archive.infolist(), os.fstat(file.fileno()).st_size)
                yield archive
        except Exception as error:
            raise DamagedFileError(f"{path} is damaged ({error}).") from error


def _check_sizes(members, size):
    """Raise a ValueError unless the members of a zip file fit into it, so are not compressed."""
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > size:
        raise ValueError(
            "The members of a backup are not compressed. Received: members larger than the file. "
            "Use another backup"
        )


def _read_record(archive):
    record = json.loads(archive.read(RECORD))
    if not isinstance(record, dict):
        raise TypeError(
            f"The record of a backup is a dict. Received: {type(record).__name__}. Use another "
            "backup"
        )
    return record


def _read_array(archive, name):
    # Reading the whole member checks its CRC-32.
    return np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
