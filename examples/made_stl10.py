"""Synthetic images in STL-10's file format, to try a run before the real download.

    python examples/stl10.py --smoke

That command writes and uses them. Ten classes: five patterns, fine and coarse.
"""

from pathlib import Path

import numpy as np

SIZE = 96
CLASSES = [
    f"{pattern}, {scale}"
    for pattern in ("columns", "rows", "diagonals", "checks", "rings")
    for scale in ("fine", "coarse")
]


def write_stl10(folder, unlabeled=1000, train=500, test=200, seed=0):
    """Write the files of STL-10 with synthetic images, each a pattern in two random colors.

    Args:
        folder: Where to write them, created if it does not exist. `load_stl10` expects a folder
            named `stl10_binary` in its `data_dir`.
        unlabeled: Number of unlabeled images. Defaults to 1000.
        train: Number of training images, at least 10, of which each of the ten folds holds about
            a fifth. Defaults to 500.
        test: Number of test images. Defaults to 200.
        seed: Integer. The same seed writes the same files. Defaults to 0.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in (("unlabeled", unlabeled), ("train", train), ("test", test)):
        labels = rng.permutation(np.arange(count) % len(CLASSES))
        images = np.stack([_image(rng, label) for label in labels])
        images.transpose(0, 3, 2, 1).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            (labels + 1).astype("uint8").tofile(folder / f"{split}_y.bin")
        if split == "train":
            folds = np.stack([_fold(rng, labels) for _ in range(10)])
            np.savetxt(folder / "fold_indices.txt", folds, fmt="%d")
    (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")


def _image(rng, label):
    """Return an image (96, 96, 3), uint8: two colors that alternate in a pattern, and noise."""
    pattern, scale = divmod(label, 2)
    wave_number = 2 * np.pi / (rng.uniform(8, 12), rng.uniform(24, 36))[scale]
    y, x = np.mgrid[:SIZE, :SIZE] - rng.uniform(24, 72, size=(2, 1, 1))
    wave = (
        lambda: np.sin(wave_number * x),
        lambda: np.sin(wave_number * y),
        lambda: np.sin(wave_number * (x + y) / np.sqrt(2)),
        lambda: np.sin(wave_number * x) * np.sin(wave_number * y),
        lambda: np.sin(wave_number * np.hypot(x, y)),
    )[pattern]()
    dark, bright = rng.uniform(0, 110, 3), rng.uniform(145, 255, 3)
    image = np.where(wave[..., None] > 0, bright, dark) + rng.normal(0, 12, (SIZE, SIZE, 3))
    return np.clip(image, 0, 255).astype("uint8")


def _fold(rng, labels):
    """Return indices of random training images, equally many of each class."""
    per_class = max(1, len(labels) // (5 * len(CLASSES)))
    members = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
    return np.concatenate([rng.choice(own, per_class, replace=False) for own in members])
