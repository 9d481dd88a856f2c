"""Made pictures in STL-10's own files, to try a whole run before the real download."""

from pathlib import Path

import numpy as np

SIZE = 96
CLASSES = [
    f"{pattern}, {scale}"
    for pattern in ("columns", "rows", "diagonals", "checks", "rings")
    for scale in ("fine", "coarse")
]


def write_stl10(folder, unlabeled=1000, train=500, test=200, seed=0):
    """Write the seven files of STL-10 with made pictures: ten patterns in two random colours.

    Args:
        folder: Where to put them; made if it is not there. `load_stl10` looks for a folder named
            `stl10_binary` in its `data_dir`.
        unlabeled: Number of unlabelled pictures.
        train: Number of training pictures, at least 10; each of the ten folds has about a fifth.
        test: Number of test pictures.
        seed: Integer; the same seed gives the same files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in (("unlabeled", unlabeled), ("train", train), ("test", test)):
        labels = rng.permutation(np.arange(count) % len(CLASSES))
        pictures = np.stack([_picture(rng, label) for label in labels])
        pictures.transpose(0, 3, 2, 1).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            (labels + 1).astype("uint8").tofile(folder / f"{split}_y.bin")
        if split == "train":
            folds = np.stack([_fold(rng, labels) for _ in range(10)])
            np.savetxt(folder / "fold_indices.txt", folds, fmt="%d")
    (folder / "class_names.txt").write_text("\n".join(CLASSES) + "\n")


def _picture(rng, label):
    """Return a picture (96, 96, 3), uint8: two colours that alternate in a pattern, and noise."""
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
    picture = np.where(wave[..., None] > 0, bright, dark) + rng.normal(0, 12, (SIZE, SIZE, 3))
    return np.clip(picture, 0, 255).astype("uint8")


def _fold(rng, labels):
    """Return random indices of training pictures, as many of each class."""
    each = max(1, len(labels) // (5 * len(CLASSES)))
    members = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
    return np.concatenate([rng.choice(own, each, replace=False) for own in members])
