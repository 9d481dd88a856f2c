"""Backups from which a run that was killed at any moment resumes exactly."""

import contextlib
import datetime
import functools
import time
from pathlib import Path

import keras

from keras_simclr import distribution
from keras_simclr.callbacks.backup_folder import BackupFolder
from keras_simclr.callbacks.interruption import Interruption
from keras_simclr.callbacks.run_state import (
    Run,
    check_settings,
    check_shapes,
    first_nonfinite,
    get_random_states,
    get_state,
    plain_config,
    set_callback_states,
    set_variables,
)
from keras_simclr.callbacks.terminate_on_nonfinite import CURE
from keras_simclr.keras_internals import (
    epochs_starting_at,
    set_initial_epoch,
)
from keras_simclr.ops.seeds import set_random_states
from keras_simclr.validation import is_integer


class BackupAndRestore(keras.callbacks.Callback):
    """Back up a run, and resume it where it was when it stops for any reason.

    A run that is killed at any moment and started again by the same program ends with the same
    weights, bit for bit, and the same history as one that was never interrupted. A backup has the
    weights, the state of the optimizer, metrics and random seeds, the history, and the counters of
    Keras' `EarlyStopping`, `ModelCheckpoint` and `ReduceLROnPlateau` (of other callbacks, what
    their `get_state` returns, for their `set_state`). It is written to a file of its own, which is
    flushed and renamed once complete. The last two are kept: if one is damaged, which its
    checksums show, the run resumes from the other.

    On Ctrl-C or SIGTERM, `SimCLR.fit` and `fine_tune` save a backup before the next step and stop.
    The order of arrays and of a `keras.utils.PyDataset` is restored without reading any images;
    other datasets are read again up to where they were.

    With other Keras models than those of this package, and in runs with several processes, backups
    are saved at the end of epochs. The main process writes them and all restore them.

    Args:
        backup_dir: Folder for the backups of this run, created if it does not exist. It must be
            shared by all processes. Other files in it are left alone.
        save_freq: "epoch", the number of steps between backups within an epoch, or the time
            between them as a `datetime.timedelta`. A backup is also saved before the first step
            and at the end of an epoch. Defaults to "epoch".
        delete_checkpoint: Whether to delete the backups at the end of `fit`. Defaults to True.

    Raises:
        ValueError: When `fit` starts, if the backup belongs to a run with another model, seed,
            data or optimizer, if none can be read, or if processes see different backups.
        RuntimeError: When `fit` starts, if another run uses the folder.
        OSError: When `fit` starts, if the folder cannot be written to.
        ArithmeticError: If a weight is NaN or infinite; such weights are not saved.

    Example:
    >>> backup = BackupAndRestore("runs/backup")  # model.fit(images, callbacks=[backup])
    """

    def __init__(
        self,
        backup_dir: str | Path,
        save_freq: str | int | datetime.timedelta = "epoch",
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        _check_save_freq(save_freq)
        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self.delete_checkpoint = delete_checkpoint
        self._folder = BackupFolder(backup_dir)
        self._interruption = Interruption()
        self._run: Run | None = None
        self._others: list = []
        self._reset()

    def _reset(self):
        self._settings, self._restored, self._random_states = None, None, None
        self._epochs, self._history, self._has_saved = [], {}, False
        self._position, self._saved_at = (0, 0), time.monotonic()

    @property
    def epochs_done(self):
        """Number of complete epochs in the newest backup; 0 if there is none."""
        return max(self._folder.positions(), default=(0, 0))[0]

    def stored_seed(self):
        """Return the seed of the model in the newest backup that can be read, or None."""
        record = self._folder.newest_record()
        return record and record["settings"].get("seed")

    def on_train_begin(self, logs=None):
        """Restore the newest backup, if there is one."""
        self._reset()
        self._one_process = len(distribution.process_all_gather(0)) == 1
        self._check_support()
        if distribution.is_main_process():
            self._folder.acquire()
        optimizer = plain_config(self.model.optimizer.get_config())
        self._settings = {**(self._run.settings if self._run else {}), "optimizer": optimizer}
        if not distribution.same_on_all_processes(self.epochs_done):
            raise ValueError(
                "All processes must see the same backup. Received: a different number of epochs "
                f"in `{self.backup_dir}` of another process. Choose a folder that they all share."
            )
        if self._folder.positions():
            self._restore(*self._folder.read_newest())
        if self._run and self._one_process:
            self._interruption.start()

    def _check_support(self):
        if self.save_freq != "epoch" and not (self._run and self._one_process):
            raise ValueError(
                "Backups within an epoch are supported in `SimCLR.fit` and `fine_tune`, with one "
                f'process. Received: save_freq={self.save_freq!r}. Use save_freq="epoch".'
            )

    def _restore(self, arrays, record):
        if not self.model.built:
            raise ValueError(
                "The model must be built before its backup can be restored. Received: "
                f"{self.model!r}. Call `model.build(input_shape)` first."
            )
        sample = self._run.sample if self._run else record["sample"]
        check_settings(self._folder.last, record, self._settings, sample)
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        check_shapes(self.model, arrays)
        set_variables(self.model, arrays, metrics=False)
        self._restored = arrays, record
        self._epochs, self._history = record["epochs"], record["history"]
        set_initial_epoch(self.model, record["epoch"])
        reads = self._run and self._run.start.draws
        states = get_random_states(arrays, ["torch"] if reads else None)
        if self._run:
            # Only then, as reading the epochs before may draw random numbers.
            then = None if record["step"] else functools.partial(set_random_states, states)
            self._run.start.set(record["epoch"], record["step"], then)
        self._random_states = states if record["step"] or not self._run else None

    def on_epoch_begin(self, epoch, logs=None):
        """Restore what Keras resets when training and epochs begin."""
        if self._restored:
            arrays, record = self._restored
            self._restored, self._has_saved = None, True
            self._position = (record["epoch"], record["step"])
            self._set_history()
            set_callback_states(self._others, record["callbacks"], arrays)
            if record["step"]:
                set_variables(self.model, arrays, metrics=True)
            return
        self._position = (epoch, 0)
        if not self._has_saved:
            self._save()

    def _set_history(self):
        history = self.model.history
        history.epoch = list(self._epochs)
        history.history = {name: list(values) for name, values in self._history.items()}

    def on_train_batch_begin(self, batch, logs=None):
        """Save a backup if one is due, and stop if the run is interrupted."""
        # Not in `on_train_batch_end`: for that, Keras would wait for the results of every step.
        if self._random_states:  # only now, as reading the steps before may draw random numbers
            set_random_states(self._random_states)
            self._random_states = None
        epoch, last = self._position
        if self._interruption.received:
            self._position = (epoch, batch)
            self._save()
            self._stop()
        if batch > last and self._is_due(batch, last):
            self._position = (epoch, batch)
            self._save()

    def _is_due(self, batch, last):
        if isinstance(self.save_freq, datetime.timedelta):
            return time.monotonic() - self._saved_at >= self.save_freq.total_seconds()
        return self.save_freq != "epoch" and batch // self.save_freq > last // self.save_freq

    def on_epoch_end(self, epoch, logs=None):
        """Save a backup of the complete epoch."""
        self._epochs.append(epoch)
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        self._position = (epoch + 1, 0)
        self._save()
        if self._interruption.received:
            self._stop()

    def _save(self):
        """Write a backup of the current position."""
        self._saved_at, self._has_saved = time.monotonic(), True
        if not distribution.joins_saving():
            return
        self._check_finite()
        arrays, state = get_state(self.model, self._others, self._one_process)
        if not distribution.is_main_process():
            return
        epoch, step = self._position
        record = {
            "epoch": epoch,
            "step": step,
            "epochs": self._epochs,
            "history": self._history,
            **state,
            "settings": self._settings,
            "sample": self._run.sample if self._run else "",
        }
        self._folder.write(self._position, arrays, record)

    def _check_finite(self):
        name = first_nonfinite(self.model)
        if name:
            raise ArithmeticError(
                f"The weights became NaN or infinite by epoch {self._position[0] + 1}, first in "
                f"{name}, so they were not saved. {CURE} The last backup is {self._folder.last}."
            )

    def _stop(self):
        self._interruption.raise_error(
            f"Interrupted. The backup {self._folder.last} is complete: to resume, start the same "
            "program again."
        )

    def on_train_end(self, logs=None):
        """Delete the backups, unless `delete_checkpoint` is False."""
        if self._restored:
            self._set_history()
        set_initial_epoch(self.model, None)
        distribution.barrier()
        if self.delete_checkpoint and distribution.is_main_process():
            self._folder.delete()
        self.close()
        distribution.barrier()

    def close(self):
        """Unlock the folder, and give Ctrl-C its usual effect back."""
        self._interruption.stop()
        self._folder.release()

    @contextlib.contextmanager
    def backing_up(self, run, others):
        """Let the callback resume a run of this package within an epoch, in a context."""
        self._run, self._others = run, others
        if any(position > (0, 0) for position in self._folder.positions()):
            for callback in others:
                if isinstance(callback, keras.callbacks.CSVLogger):
                    callback.append = True  # or it would remove what it has written before
        try:
            with epochs_starting_at(run.start):
                yield
        finally:
            self.close()
            self._run, self._others = None, []


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


def backing_up(callbacks: list, run: Run) -> contextlib.AbstractContextManager:
    """Return a context in which the `BackupAndRestore` among callbacks, if any, knows its run."""
    backup = find_backup(callbacks)
    if backup is None:
        return contextlib.nullcontext()
    return backup.backing_up(run, [callback for callback in callbacks if callback is not backup])


def _check_save_freq(save_freq):
    if isinstance(save_freq, datetime.timedelta) and save_freq > datetime.timedelta(0):
        return
    if save_freq == "epoch" or (is_integer(save_freq) and save_freq > 0):
        return
    raise ValueError(
        '`save_freq` must be "epoch", a positive number of steps, or a positive '
        f"`datetime.timedelta`. Received: save_freq={save_freq!r}."
    )
