"""The image files below a folder, listed in little time and memory."""

import contextlib
import os
from collections.abc import Iterator, Sequence

import numpy as np

EXTENSIONS = tuple(".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .dib .gif".split())


class FileList(Sequence):
    """Paths of files, which take little more memory than the names of the files.

    Args:
        folders: Paths of the folders.
        names: Names of the files in each of these folders, one after the other.
        lengths: Lengths of these names.
    """

    def __init__(self, folders: list[bytes], names: list[bytes], lengths: list[np.ndarray]) -> None:
        self.folders = folders
        self._starts = np.cumsum([0, *map(len, lengths)])
        self._text = b"".join(names)
        self._ends = np.cumsum(np.concatenate([*lengths, []]), dtype="int64")

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._ends)

    def __getitem__(self, index):
        """Return the path of a file."""
        return self.take(np.array([range(len(self))[index]]))[0]

    def take(self, rows: np.ndarray) -> list[str]:
        """Return the paths of several files."""
        ends = self._ends[rows]
        starts = np.where(rows > 0, self._ends[rows - 1], 0)
        parts = zip(self.folder_of(rows).tolist(), starts.tolist(), ends.tolist(), strict=True)
        joined = (self.folders[at] + b"/" + self._text[start:end] for at, start, end in parts)
        return list(map(os.fsdecode, joined))

    def folder_of(self, index: np.ndarray) -> np.ndarray:
        """Return the positions in `folders` of the folders of files."""
        return np.searchsorted(self._starts, index, side="right") - 1

    def relative_names(self, root: str) -> Iterator[bytes]:
        """Yield parts of a text that changes with the name of any file below `root`."""
        yield from (os.path.relpath(folder, os.fsencode(root)) + b"\0" for folder in self.folders)
        yield from (self._starts.tobytes(), self._ends.tobytes(), self._text)


def list_images(root: str | os.PathLike) -> tuple[FileList, dict[str, str], set[str]]:
    """List the image files in a folder and all folders below it, in the order of their names.

    Files are known by their extension; names that start with a dot are left out. Links to folders
    are followed, but no folder is listed twice.

    Args:
        root: Path of the folder.

    Returns:
        `(files, unreadable, others)`: the image files, {folder: why it could not be listed}, and
        the extensions of all other files.
    """
    folders, names, lengths = [], [], []
    unreadable: dict[str, str] = {}
    others: set[str] = set()
    visited: set[tuple[int, int]] = set()
    waiting = [os.fsencode(root)]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            found, below = _list_folder(folder, others)
        except OSError as error:
            unreadable[os.fsdecode(folder)] = error.strerror or str(error)
            continue
        waiting.extend(os.path.join(folder, name) for name in sorted(below, reverse=True))
        if found:
            folders.append(folder)
            found.sort()
            names.append(b"".join(found))
            lengths.append(np.fromiter(map(len, found), "uint16", len(found)))
    return FileList(folders, names, lengths), unreadable, others


def _list_folder(folder, others):
    """Return the names of the images and of the folders in a folder."""
    images, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            with contextlib.suppress(OSError):  # of a link to itself
                if entry.is_dir():
                    folders.append(entry.name)
                    continue
            extension = os.fsdecode(os.path.splitext(entry.name)[1]).lower()
            if extension not in EXTENSIONS:
                others.add(extension or "none")
            elif entry.is_symlink() or entry.is_file():
                images.append(entry.name)
    return images, folders
