"""STL-10: 100,000 unlabeled photographs and 13,000 labeled ones."""

import os
from pathlib import Path

import numpy as np

from keras_simclr.download import download_file, unpack_files
from keras_simclr.files import locked
from keras_simclr.validation import check_choice

URL = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
MD5 = "91f7769df0f17e558f3565bffb0c7dfb"
FILES_OF_SPLIT = {
    "unlabeled": ["unlabeled_X.bin"],
    "train": ["train_X.bin", "train_y.bin", "fold_indices.txt"],
    "test": ["test_X.bin", "test_y.bin"],
}
FILES = [*sum(FILES_OF_SPLIT.values(), []), "class_names.txt"]
SIZE, CHANNELS = 96, 3
BYTES = SIZE * SIZE * CHANNELS  # per image
FOLDS, CLASSES = 10, 10


def load_stl10(
    split: str = "unlabeled",
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    *,
    fold: int | None = None,
    url: str = URL,
    archive_md5: str = MD5,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Load STL-10, photographs of 96 x 96 pixels in ten classes.

    The images stay on disk, as a `numpy.memmap`, and are read when they are used.

    Args:
        split: "unlabeled" (100,000 images of a broader distribution), "train" (5,000) or "test"
            (8,000).
        data_dir: Folder that contains, or will contain, `stl10_binary/`. Defaults to `datasets`
            in `$KERAS_HOME`, or in `~/.keras` if that is not set.
        download: Whether to download the archive of 2.6 GB if the files do not exist. An archive
            that is already in `data_dir` is unpacked either way.
        fold: 0..9 for one of the ten official folds of "train", of 1,000 images each, which are
            read into memory. Defaults to None, the whole split.
        url: URL of the archive.
        archive_md5: MD5 checksum of the archive.

    Returns:
        `(images, labels)`: read-only uint8 images of shape (N, 96, 96, 3) in 0..255, and int64
        labels 0..9 of shape (N,), None for "unlabeled".

    Raises:
        ValueError: If `split` or `fold` is unknown, or a file is damaged.
        FileNotFoundError: If the files do not exist and `download` is False.
        ConnectionError: If the network fails; the next call resumes the download.

    Example:
    >>> try:
    ...     images, labels = load_stl10("train", "no/such/folder")
    ... except FileNotFoundError as error:
    ...     print("download=True" in str(error))
    True

    References:
        Coates, Ng and Lee 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature
        Learning".
    """
    _check_arguments(split, fold)
    folder = _folder(data_dir, split, download, url, archive_md5)
    images = _read_images(folder / f"{split}_X.bin")
    if split == "unlabeled":
        return images, None
    labels = _read_labels(folder / f"{split}_y.bin")
    if len(labels) != len(images):
        raise ValueError(
            f"{folder} must contain a label for each image. Received: {len(images)} images and "
            f"{len(labels)} labels of {split!r}. Delete the folder and pass `download=True`."
        )
    if fold is None:
        return images, labels
    indices = _read_fold(folder / "fold_indices.txt", fold, len(images))
    return images[indices], labels[indices]


def _check_arguments(split, fold):
    check_choice("split", split, tuple(FILES_OF_SPLIT))
    if fold is None:
        return
    if split != "train":
        raise ValueError(
            f"Only the split 'train' has folds. Received: fold={fold}, split={split!r}."
        )
    check_choice("fold", fold, range(FOLDS))


def _folder(data_dir, split, download, url, md5):
    if data_dir is None:
        data_dir = Path(os.environ.get("KERAS_HOME", "~/.keras"), "datasets")
    folder = Path(data_dir).expanduser() / "stl10_binary"
    if all((folder / name).exists() for name in FILES_OF_SPLIT[split]):
        return folder
    archive = folder.with_name("stl10_binary.tar.gz")
    if not (download or archive.exists()):
        raise FileNotFoundError(
            f"STL-10 is missing. Received: {folder}, which does not have all of its files. Pass "
            f"`download=True` (2.6 GB), or download {url} and put it at {archive}, without "
            "unpacking it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name("stl10_binary.lock")):
        if not all((folder / name).exists() for name in FILES):  # as another process had the lock
            unpack_files(download_file(url, archive, f"md5:{md5}"), folder, FILES)
            archive.unlink()
    return folder


def _read_images(path):
    size = path.stat().st_size
    if size == 0 or size % BYTES:
        raise ValueError(
            f"{path} is truncated. Received: {size} bytes, expected a multiple of {BYTES} "
            f"({SIZE} x {SIZE} x {CHANNELS}). Delete it and pass `download=True`."
        )
    planes = np.memmap(path, "uint8", mode="r").reshape(-1, CHANNELS, SIZE, SIZE)
    return planes.transpose(0, 3, 2, 1)  # channels are stored column by column


def _read_labels(path):
    labels = np.fromfile(path, "uint8").astype("int64")
    if len(labels) and not 1 <= labels.min() <= labels.max() <= CLASSES:
        raise ValueError(
            f"{path} must contain labels from 1 to {CLASSES}. Received: {labels.min()} to "
            f"{labels.max()}. Delete it and pass `download=True`."
        )
    return labels - 1


def _read_fold(path, fold, count):
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")[:FOLDS]
    try:
        first, *others = lines[fold].split()
        indices = np.array([int(first), *map(int, others)], "uint64")
        np.arange(count)[indices]  # all of them are there
    except (IndexError, OverflowError, ValueError) as error:
        raise ValueError(
            f"{path} must contain the indices of the images of {FOLDS} folds. Received: {error}. "
            "Delete it and pass `download=True`."
        ) from error
    return indices
