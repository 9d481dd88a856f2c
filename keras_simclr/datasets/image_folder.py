"""Folders of image files, as a dataset for `fit`, `fine_tune` and `predict`."""

import os
from collections.abc import Sequence

import numpy as np

from keras_simclr.data.batch_size import DEFAULT_BATCH_SIZE
from keras_simclr.data.file_dataset import FileDataset
from keras_simclr.datasets.file_list import list_images
from keras_simclr.datasets.image_files import ImageFiles
from keras_simclr.datasets.image_format import choose_format, sample_images
from keras_simclr.datasets.label_file import read_label_file
from keras_simclr.validation import check_number, check_positive, check_positive_integer, size_pair


class ImageFolder(FileDataset):
    """Batches of the images in a folder, as `image_folder` returns them.

    Attributes:
        root: Path of the folder.
        class_names: Names of the classes in the order of their labels; empty without labels.
    """

    def __init__(
        self, files: ImageFiles, labels: np.ndarray | None, class_names: list[str], batch_size: int
    ) -> None:
        super().__init__(files, labels, batch_size=batch_size)
        self.root = files.root
        self.class_names = class_names

    @property
    def file_paths(self) -> list[str]:
        """Paths of the images, in the order of `predict`, without those found to be broken."""
        return self.images.paths_of(self.images.good_rows())

    @property
    def relative_paths(self) -> list[str]:
        """`file_paths` relative to `root`."""
        return [os.path.relpath(path, self.root) for path in self.file_paths]

    @property
    def labels(self) -> np.ndarray | None:
        """Integer labels of `file_paths`, or None."""
        return self.targets[0][self.images.good_rows()] if self.targets else None

    @property
    def broken(self) -> dict[str, str]:
        """{path: reason} of files that could not be read so far, and folders not listed."""
        files = {self.images.paths[row]: text for row, text in self.images.broken.items()}
        return {**self.images.unlisted, **files}


def image_folder(
    path: str | os.PathLike,
    image_size: int | tuple[int, int] | None = None,
    *,
    batch_size: int | None = None,
    labels: str | os.PathLike | None = "auto",
    class_names: Sequence[str] | None = None,
    channels: int | None = None,
    crop_to_aspect_ratio: bool = False,
    max_value: float | None = None,
    max_broken: float = 0.1,
    verbose: bool = True,
) -> ImageFolder:
    """Load the images of a folder, and of all folders below it, batch by batch.

    The dataset works on every backend, in `fit`, `fine_tune`, `evaluate` and `predict`. Files are
    decoded in parallel, ahead of the steps that use them, and a resumed run skips the steps already
    done without reading their files. The order is that of `file_paths`; only `fit` and `fine_tune`
    shuffle, by the seed of the model and the epoch, as they do with arrays.

    JPEG, PNG, WebP, TIFF, BMP and GIF (the first frame) are known by their extensions. The
    orientation in EXIF is applied and transparency is shown on white. TIFFs with other than 1, 3
    or 4 bands need tifffile (extra `tiff`). Values are uint8 in 0..255, or float32 if there are
    images of more than 8 bits; without imagecodecs (extra `tiff`), colored PNGs of 16 bits are read
    with 8. Files with values below 0, as in CT or radar images in decibels, count as broken.

    A file that cannot be read is left out and listed in `broken`. In `fit` and `fine_tune` another
    one, drawn by the seed, takes its place.

    Args:
        path: Path of the folder.
        image_size: Height and width in pixels, an int or a pair. Defaults to None, by a sample of
            64 files: their own size, if all are equal and at most 96 pixels per side, otherwise
            the median of the shorter sides, at most 96.
        batch_size: Images per batch, at most the number of files. Defaults to 256.
        labels: "folders": the folders in `path` are the classes; the path of a CSV file of
            `path,label`, which then lists all images (relative paths start from `path`); None:
            no labels. Defaults to "auto": "folders" if there are several and no image lies
            outside them.
        class_names: Names of all classes, in the order of their labels, such as those of the
            training data. Defaults to None: those that occur, sorted.
        channels: Number of channels. Defaults to None, the largest in the sample: 1 if all are
            gray, 3, or the number of bands.
        crop_to_aspect_ratio: Whether to crop images to the aspect ratio of `image_size`, at the
            center, rather than to distort them. Defaults to False.
        max_value: Value of white in images of more than 8 bits. Defaults to None, by the sample:
            1 for values up to 1, otherwise 255, 511, ..., 4095, ..., 65535 and so on. It is
            printed; pass that of the training images for all others.
        max_broken: Largest fraction of the files that may be broken. Defaults to 0.1.
        verbose: Whether to print what was found and chosen. Defaults to True.

    Returns:
        A `keras.utils.PyDataset` of batches of images, or of images and labels, with `file_paths`,
        `labels`, `class_names` and `broken`.

    Raises:
        ValueError: If there are no images, labels are wrong, or too many files are broken, which
            may be found later.

    Example:
    >>> import tempfile
    >>> from PIL import Image
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("a", "b"):
    ...     Image.new("RGB", (40, 30), "teal").save(f"{folder}/{name}.png")
    >>> dataset = image_folder(folder)
    Found 2 images, read as 30 x 40 x 3, uint8.
    >>> dataset[0][0].shape
    (2, 30, 40, 3)
    """
    _check_arguments(batch_size, channels, max_value, max_broken)
    size, root = size_pair(image_size), os.path.abspath(path)
    paths, found, targets, unlisted = _list_files(root, labels)
    targets, classes = _with_classes(targets, found, class_names)
    sampled, broken = sample_images(paths)
    if not sampled:
        first = next(iter(broken.values()))
        raise ValueError(
            f"No image could be read. Received: {len(broken)} files in {root!r}, all of them "
            f"broken; of the first: {first}."
        )
    image_format = choose_format(sampled, size, channels, max_value, crop_to_aspect_ratio)
    files = ImageFiles(paths, root, image_format, max_broken, broken, unlisted)
    batch_size = min(batch_size or DEFAULT_BATCH_SIZE, len(files))
    dataset = ImageFolder(files, targets, classes, batch_size)
    if verbose:
        _, *shape = files.shape
        in_classes = f" in {len(classes)} classes" if classes else ""
        size = " x ".join(map(str, shape))
        white = f", white is {image_format.white:g}" if files.dtype == "float32" else ""
        print(f"Found {len(files)} images{in_classes}, read as {size}, {files.dtype}{white}.")
    return dataset


def _check_arguments(batch_size, channels, max_value, max_broken):
    for name, value in (("batch_size", batch_size), ("channels", channels)):
        if value is not None:
            check_positive_integer(name, value)
    if max_value is not None:
        check_positive("max_value", max_value)
    check_number("max_broken", max_broken, 0, 1)


def _list_files(root, labels):
    """Return paths, the classes found, their index for each path, and folders not listed."""
    if not os.path.isdir(root):
        raise ValueError(f"`path` must be an existing folder. Received: path={root!r}.")
    if labels not in ("auto", "folders", None):
        of_paths = read_label_file(labels, root)
        return list(of_paths), *np.unique([*of_paths.values()], return_inverse=True), {}
    files, unlisted, others = list_images(root)
    if not len(files):
        raise ValueError(
            f"There are no images. Received: path={root!r}{_describe(unlisted, others)}. Images "
            "end in .jpg, .jpeg, .png, .webp, .tif, .tiff, .bmp or .gif."
        )
    return files, *_classes_by_folder(files, root, labels), unlisted


def _describe(unlisted, others):
    parts = [f", with files that end in {', '.join(sorted(others)[:5])}"] if others else []
    parts += [f", where {name!r} cannot be listed ({why})" for name, why in unlisted.items()][:1]
    return "".join(parts)


def _classes_by_folder(files, root, labels):
    """Return the folders in `root` and the index of that of each file, or ([], None)."""
    if labels is None:
        return [], None
    below = [os.path.relpath(os.fsdecode(folder), root) for folder in files.folders]
    names, of_folder = np.unique([name.split(os.sep)[0] for name in below], return_inverse=True)
    if len(names) > 1 and os.curdir not in names:
        return names, of_folder[files.folder_of(np.arange(len(files)))]
    if labels == "auto":
        return [], None
    raise ValueError(
        "With labels from folders, all images must be in several folders, one per class. "
        f"Received: images in {names[:5].tolist()} of {root!r}."
    )


def _with_classes(targets, found, class_names):
    """Return integer labels, or None, and the names of the classes."""
    found = list(map(str, found))
    names = found if class_names is None else list(class_names)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise ValueError(
            f"All classes must be in `class_names`. Received: {unknown[:5]}, "
            f"class_names={names[:10]}."
        )
    if targets is not None:
        return np.array([names.index(name) for name in found])[targets], names
    if class_names is not None:
        raise ValueError(
            f"`class_names` needs labels. Received: class_names={names[:10]} without any folders "
            "of classes."
        )
    return None, []
