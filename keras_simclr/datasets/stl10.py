"""STL-10: 100,000 photographs without labels and 13,000 with."""

import os
from pathlib import Path

import numpy as np

from keras_simclr.datasets.download import download_file, unpack_files

URL = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
MD5 = "91f7769df0f17e558f3565bffb0c7dfb"
FILES_OF_SPLIT = {
    "unlabeled": ["unlabeled_X.bin"],
    "train": ["train_X.bin", "train_y.bin", "fold_indices.txt"],
    "test": ["test_X.bin", "test_y.bin"],
}
FILES = [*sum(FILES_OF_SPLIT.values(), []), "class_names.txt"]
SIZE, CHANNELS = 96, 3
BYTES = SIZE * SIZE * CHANNELS  # of a picture
FOLDS = 10


def load_stl10(
    split="unlabeled", data_dir=None, download=False, *, fold=None, url=URL, archive_md5=MD5
):
    """Open STL-10, real photographs of 96 x 96 pixels in ten classes.

    The pictures stay on the disk as a `numpy.memmap` and are read when they are looked at.

    Args:
        split: "unlabeled" (100,000 pictures of a broader kind), "train" (5,000) or "test" (8,000).
        data_dir: Folder that holds, or gets, `stl10_binary/`. Defaults to `datasets` in
            `$KERAS_HOME`, which is `~/.keras` where it is not set.
        download: Whether to fetch the archive of 2.6 GB if the files are not there. An archive
            that already lies in `data_dir` is unpacked either way.
        fold: 0..9 for one of the ten official folds of 1,000 pictures of "train", which are read
            into memory; None for the whole split.
        url: Address of the archive.
        archive_md5: Its md5 sum.

    Returns:
        `(images, labels)`: uint8 pictures of shape (N, 96, 96, 3), in 0..255 and read-only, and
        int64 labels 0..9 of shape (N,), None for "unlabeled".

    Raises:
        ValueError: If `split` or `fold` is unknown, or a file is damaged.
        FileNotFoundError: If the files are not there and `download` is False.
        ConnectionError: If the network fails; calling again goes on where it stopped.

    Example:
    >>> try:
    ...     images, labels = load_stl10("train", "no/such/folder")
    ... except FileNotFoundError as error:
    ...     print("download=True" in str(error))
    True

    Source: Coates, Ng and Lee 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature
    Learning".
    """
    _check_arguments(split, fold)
    folder = _folder(data_dir, split, download, url, archive_md5)
    images = _read_images(folder / f"{split}_X.bin")
    if split == "unlabeled":
        return images, None
    labels = np.fromfile(folder / f"{split}_y.bin", "uint8").astype("int64") - 1
    if len(labels) != len(images):
        raise ValueError(
            f"{folder} must hold a label for each picture. Received: {len(images)} pictures and "
            f"{len(labels)} labels of {split!r}. Delete the folder and pass `download=True`."
        )
    if fold is None:
        return images, labels
    chosen = np.loadtxt(folder / "fold_indices.txt", dtype="int64", ndmin=2)[fold]
    return images[chosen], labels[chosen]


def _check_arguments(split, fold):
    if split not in FILES_OF_SPLIT:
        raise ValueError(f"`split` must be one of {list(FILES_OF_SPLIT)}. Received: {split!r}.")
    if fold is None:
        return
    if split != "train":
        raise ValueError(
            f"Only the split 'train' has folds. Received: fold={fold}, split={split!r}."
        )
    if fold not in range(FOLDS):
        raise ValueError(f"`fold` must be one of 0..{FOLDS - 1}. Received: fold={fold}.")


def _folder(data_dir, split, download, url, md5):
    if data_dir is None:
        data_dir = Path(os.environ.get("KERAS_HOME", "~/.keras"), "datasets")
    folder = Path(data_dir).expanduser() / "stl10_binary"
    if all((folder / name).exists() for name in FILES_OF_SPLIT[split]):
        return folder
    archive = folder.with_name("stl10_binary.tar.gz")
    if not (download or archive.exists()):
        raise FileNotFoundError(
            f"STL-10 is not in {folder}: pass `download=True` (2.6 GB), or download {url} and put "
            f"it at {archive} as it is."
        )
    unpack_files(download_file(url, archive, md5), folder, FILES)
    archive.unlink()
    return folder


def _read_images(path):
    size = path.stat().st_size
    if size == 0 or size % BYTES:
        raise ValueError(
            f"{path} is cut off. Received: {size} bytes, expected a multiple of {BYTES} "
            f"({SIZE} x {SIZE} x {CHANNELS}). Delete it and pass `download=True`."
        )
    planes = np.memmap(path, "uint8", mode="r").reshape(-1, CHANNELS, SIZE, SIZE)
    return planes.transpose(0, 3, 2, 1)  # a channel lies column by column
