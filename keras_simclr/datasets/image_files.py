"""Images in files, decoded when they are read."""

import hashlib
import os
import warnings
from collections.abc import Sequence

import numpy as np

from keras_simclr.datasets.decoding import ImageFormat, read_image
from keras_simclr.datasets.file_list import FileList
from keras_simclr.datasets.image_format import reason


class ImageFiles:
    """Images in files, like an array of shape (N, H, W, C), and the files that are broken.

    Args:
        paths: Paths of the files.
        root: Folder of the files.
        image_format: What the images are decoded to.
        max_broken: Largest fraction of the files that may be broken.
        broken: {row: reason} of files that are known to be broken.
        unlisted: {folder: reason} of folders that could not be listed.
    """

    def __init__(
        self,
        paths: Sequence[str],
        root: str,
        image_format: ImageFormat,
        max_broken: float,
        broken: dict[int, str],
        unlisted: dict[str, str],
    ) -> None:
        self.paths, self.root, self.image_format = paths, root, image_format
        self.max_broken, self.broken, self.unlisted = max_broken, broken, unlisted
        self.dtype = np.dtype(image_format.dtype)
        size = (image_format.height, image_format.width, image_format.channels)
        self.shape = (len(paths), *size)
        self._warned = False
        self.check_broken()

    def __len__(self):
        """Return the number of files."""
        return self.shape[0]

    def fingerprint(self):
        """Return a digest of the names of all files, and of what they are decoded to."""
        hashed = hashlib.blake2b(repr(self.image_format).encode(), digest_size=8)
        if isinstance(self.paths, FileList):
            for part in self.paths.relative_names(self.root):
                hashed.update(part)
        else:
            names = [os.path.relpath(path, self.root) for path in self.paths]
            hashed.update("\0".join(names).encode("utf-8", "surrogateescape"))
        return np.frombuffer(hashed.digest(), "uint8")

    def paths_of(self, rows):
        """Return the paths of several files."""
        if isinstance(self.paths, FileList):
            return self.paths.take(rows)
        return [self.paths[row] for row in rows]

    def good_rows(self):
        """Return the rows of the files that are not known to be broken."""
        return np.delete(np.arange(len(self)), sorted(self.broken))

    def read_into(self, rows, images):
        """Decode files into an array; return the places of those that are broken."""
        failed = []
        for place, (row, path) in enumerate(zip(rows.tolist(), self.paths_of(rows), strict=True)):
            if row not in self.broken:
                try:
                    images[place] = read_image(path, self.image_format)
                except Exception as error:  # of any kind, as Pillow's decoders raise
                    self.broken[row] = reason(error)
            if row in self.broken:
                failed.append(place)
        return failed

    def check_broken(self):
        """Warn of the first broken files, and raise a ValueError if there are too many."""
        count = len(self.broken)
        if count == 0:
            return
        examples = [f"{self.paths[row]!r} ({text})" for row, text in list(self.broken.items())[:3]]
        found = f"{count} of {len(self)} files, such as {', '.join(examples)}"
        if count > self.max_broken * len(self) or count == len(self):
            raise ValueError(
                f"Too many image files cannot be read. Received: max_broken={self.max_broken:g}, "
                f"but so far {found}. Remove or replace them, or pass a larger `max_broken`."
            )
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"Some image files cannot be read and are left out: {found}. The attribute "
                "`broken` of the folder lists all that were found.",
                stacklevel=2,
            )
