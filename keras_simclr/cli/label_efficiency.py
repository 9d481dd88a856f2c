"""`keras-simclr evaluate --label-efficiency`, whose result a report shows."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_simclr.cli.runs import read_sample, write_results
from keras_simclr.evaluation import LabelEfficiency, label_efficiency
from keras_simclr.evaluation.label_methods import METHODS

FILE = "label_efficiency.json"
FRACTIONS = (0.01, 0.1, 1.0)  # of the labels of each class
DRAWS, STEPS, BATCH_SIZE = 3, 300, 128
RATES = (1e-3, 3e-3)  # of training from scratch
MAX_IMAGES = 10_000  # that are held in memory, for training and for testing


def read_labeled_sample(folder: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `MAX_IMAGES` images at equal distances in a folder, and their labels."""
    rows, images = read_sample(folder, MAX_IMAGES)
    return images, folder.targets[0][rows]


def measure(run: Path, model: Any, train: Any, test: Any, seed: int) -> LabelEfficiency:
    """Measure what a model does with few labels, and write it to the folder of its run.

    Args:
        run: Folder of the run.
        model: The `SimCLR`.
        train: (images, labels) of which labels are drawn.
        test: (images, labels) to test on.
        seed: Seed of the first draw.
    """
    fractions = _different_fractions(np.bincount(train[1]))
    fits = (1 + len(RATES)) * (1 + DRAWS * (len(fractions) - 1))
    print(
        f"Label efficiency: {fits} trainings of {STEPS} steps with at most {BATCH_SIZE} images each"
    )
    result = label_efficiency(
        model,
        train,
        test,
        labels=fractions,
        methods=METHODS[:3],
        draws=DRAWS,
        seed=seed,
        batch_size=BATCH_SIZE,
        steps=STEPS,
        scratch_rates=RATES,
        verbose=1,
    )
    text = json.dumps(result.to_dict())
    write_results(run / FILE, lambda path: path.write_text(text, "utf-8"))
    return result


def load_measured(run: Path) -> LabelEfficiency | None:
    """Return what was measured for a run, or None."""
    if not (run / FILE).exists():
        return None
    values = json.loads((run / FILE).read_text("utf-8"))
    values["names"] = _with_integers(values["names"])
    values["accuracies"] = {m: _with_integers(v) for m, v in values["accuracies"].items()}
    return LabelEfficiency(**values)


def _with_integers(values):
    return {int(key): value for key, value in values.items()}


def _different_fractions(available):
    """Return the fractions of which no two draw the same number of labels, and all labels."""
    by_count = {
        int(np.maximum(1, np.rint(fraction * available)).sum()): fraction for fraction in FRACTIONS
    }
    return tuple(by_count.values())
