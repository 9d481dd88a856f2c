"""The runs of this package, which resume within an epoch."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_simclr.callbacks.backup_and_restore import BackupAndRestore
from keras_simclr.callbacks.run_state import Run
from keras_simclr.files import replacing
from keras_simclr.keras_internals import epochs_starting_at


def find_backup(callbacks: list) -> BackupAndRestore | None:
    """Return the `BackupAndRestore` among callbacks, or None.

    Raises:
        ValueError: If there are several.
    """
    found = [callback for callback in callbacks if isinstance(callback, BackupAndRestore)]
    if len(found) > 1:
        raise ValueError(
            f"A run has one `BackupAndRestore`. Received: {len(found)} of them. Remove all but one."
        )
    return found[0] if found else None


@contextlib.contextmanager
def adopted_seed(model: Any, backup: BackupAndRestore | None) -> Iterator[None]:
    """Let a `SimCLR` take the seed of a backup, unless it was given one.

    A built model has its own seed again if its run is refused in the context.
    """
    seed, was_built = model.seed, model.built
    record = backup.newest_record() if backup is not None and model.seed_is_drawn else None
    model.seed = record["settings"].get("seed", seed) if record else seed
    try:
        yield
    except BaseException:
        if was_built and not (backup and backup.has_restored):
            model.seed = seed
        raise


def adopted_augmenter_seeds(states: list, backup: BackupAndRestore | None) -> list:
    """Let the random states of an augmenter be those of a backup, and return them.

    Keras draws a seed for every layer that is not given one.
    """
    record = backup.newest_record() if backup is not None else None
    saved = record["settings"].get("augmenter_seeds") if record else None
    if saved and len(saved) == len(states):
        for state, value in zip(states, saved, strict=True):
            state.assign(value)
    return [keras.ops.convert_to_numpy(state).tolist() for state in states]


@contextlib.contextmanager
def resumable(callbacks: list, run: Run) -> Iterator[None]:
    """Let the `BackupAndRestore` among callbacks, if there is one, resume a run within an epoch."""
    backup = find_backup(callbacks)
    if backup is None:
        yield
        return
    others = [callback for callback in callbacks if callback is not backup]
    with contextlib.ExitStack() as stack:
        stack.callback(backup.close)
        backup.describe(run, others)
        record = backup.newest_record()
        for callback in others if record else ():
            if isinstance(callback, keras.callbacks.CSVLogger):
                stack.enter_context(_appending(callback, record["epoch"]))
        stack.enter_context(epochs_starting_at(run.start))
        yield


@contextlib.contextmanager
def _appending(logger, epoch):
    """Let a `CSVLogger` append to the rows of the epochs before `epoch`, and drop later ones."""
    path, append = Path(logger.filename), logger.append
    if path.exists():
        with open(path, newline="") as file:
            rows = [row for row in csv.reader(file, delimiter=logger.sep) if row]
        with replacing(path) as unfinished, open(unfinished, "w", newline="") as file:
            csv.writer(file, delimiter=logger.sep).writerows(_before(epoch, rows, path))
    logger.append = True  # or it would remove all rows
    try:
        yield
    finally:
        logger.append = append


def _before(epoch, rows, path):
    """Return the header and the complete rows of the epochs before `epoch`, if there are rows."""
    if not rows:
        return []
    header, *rows = rows
    if "epoch" not in header:
        raise ValueError(
            f"The log of a resumed run must have a column 'epoch'. Received: {path}, whose first "
            f"row is {header[:5]}. Move the file away."
        )
    complete = [row for row in rows if len(row) == len(header)]
    return [header, *(row for row in complete if int(row[header.index("epoch")]) < epoch)]
