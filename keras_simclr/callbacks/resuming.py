"""The runs of this package, which resume within an epoch."""

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path

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
            header, *rows = list(csv.reader(file, delimiter=logger.sep)) or [[]]
        kept = [row for row in rows if int(row[header.index("epoch")]) < epoch]
        with replacing(path) as unfinished, open(unfinished, "w", newline="") as file:
            csv.writer(file, delimiter=logger.sep).writerows([header, *kept])
    logger.append = True  # or it would remove all rows
    try:
        yield
    finally:
        logger.append = append
