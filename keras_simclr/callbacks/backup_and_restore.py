"""Backups from which a run that was killed at any moment resumes exactly."""

import datetime
import functools
import weakref
from pathlib import Path

import keras
import numpy as np

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
    optimizer_config,
    set_callback_states,
    set_variables,
)
from keras_simclr.callbacks.save_times import SaveTimes
from keras_simclr.callbacks.terminate_on_nonfinite import CURE
from keras_simclr.keras_internals import set_initial_epoch, when_fit_ends
from keras_simclr.ops.seeds import set_random_states


class BackupAndRestore(keras.callbacks.Callback):
    """Back up a run, and resume it where it stopped, whatever the reason.

    A run that is killed at any moment and started again by the same program ends with the same
    weights, bit for bit, and the same history as one that was never interrupted. A backup has the
    weights, the state of the optimizer, metrics and random seeds, the history, and the counters of
    Keras' `EarlyStopping`, `ModelCheckpoint`, `ReduceLROnPlateau` and `SwapEMAWeights`; for any
    other callback it has what `get_state` returns, which `set_state` restores. The last two backups
    are kept: if its checksums show that one is damaged, the run resumes from the other.

    On Ctrl-C or SIGTERM, `SimCLR.fit` and `fine_tune` save a backup before the next step and stop.
    The order of arrays and of `image_folder` is restored without reading any images. Of a
    `keras.utils.PyDataset` without workers, the steps of the interrupted epoch are read again; all
    other datasets are read again up to where they were.

    For Keras models that are not of this package, and in runs with several processes, backups are
    saved only at the end of epochs. The main process writes them, and all processes restore them.

    Args:
        backup_dir: Folder for the backups of this run, created if it does not exist. All processes
            must be able to read it. Other files in it are left alone.
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
        self._times = SaveTimes(save_freq)
        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self.delete_checkpoint = delete_checkpoint
        self._folder = BackupFolder(backup_dir)
        self._interruption = Interruption()
        self._run: Run | None = None
        self._others: list = []
        self._at_end: weakref.finalize | None = None
        self._reset()

    def _reset(self):
        self._settings, self._restored, self._random_states = None, None, None
        self._epochs, self._history = [], {}
        self.has_restored, self._has_saved = False, False
        self._position = (0, 0)
        self._times.start()

    @property
    def epochs_done(self):
        """Number of complete epochs in the newest backup; 0 if there is none."""
        return max(self._folder.positions(), default=(0, 0))[0]

    def newest_record(self):
        """Return the record of the newest backup that can be read, or None."""
        return self._folder.newest_record()

    def describe(self, run, others):
        """Lock the folder for a `Run` of this package, and set it and its other callbacks."""
        self._run, self._others = run, others
        self._lock_folder()

    def on_train_begin(self, logs=None):
        """Restore the newest backup, if there is one."""
        self._reset()
        set_initial_epoch(self.model, None)
        self._one_process = distribution.num_processes() == 1
        self._check_support()
        self._forget_end()
        self._at_end = when_fit_ends(self.close)
        try:
            if self._acquire():
                with distribution.failing_together():
                    self._restore(*self._folder.read_newest())
            elif self._run:
                self._position = (self._run.initial_epoch, 0)
                self._save()
        except BaseException:
            self.close()
            raise
        if self._run and self._one_process:
            self._interruption.start()

    def _acquire(self):
        """Lock the folder, note the settings of the run, and return whether there is a backup."""
        self._lock_folder()
        optimizer = optimizer_config(self.model.optimizer, self._others)
        self._settings = {**(self._run.settings() if self._run else {}), "optimizer": optimizer}
        positions = self._folder.positions()  # before another process can save the first one
        if not distribution.same_on_all_processes(max(positions, default=(0, 0))[0]):
            raise ValueError(
                "All processes must see the same backup. Received: a different number of epochs "
                f"in `{self.backup_dir}` of another process. Choose a folder that all can read."
            )
        return bool(positions)

    def _forget_end(self):
        if self._at_end:
            self._at_end.detach()

    def _lock_folder(self):
        with distribution.failing_together():
            if distribution.is_main_process():
                self._folder.acquire()

    def _check_support(self):
        if self.save_freq != "epoch" and not (self._run and self._one_process):
            raise ValueError(
                "Backups within an epoch are supported in `SimCLR.fit` and `fine_tune`, with one "
                f'process. Received: save_freq={self.save_freq!r}. Use save_freq="epoch".'
            )

    def _restore(self, arrays, record):
        model, epochs, step = self.model, record["epoch"], record["step"]
        if not model.built:
            raise ValueError(
                "The model must be built before its backup can be restored. Received: "
                f"{model!r}. Call `model.build(input_shape)` first."
            )
        sample = self._run.sample if self._run else record["sample"]
        check_settings(self._folder.last, record, self._settings, sample)
        if epochs > self.params["epochs"]:
            raise ValueError(
                f"The backup {self._folder.last} has more epochs than the run. Received: "
                f"{epochs} complete epochs with epochs={self.params['epochs']}. Train for more "
                "epochs, or choose another folder."
            )
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        check_shapes(model, arrays)
        set_variables(model, arrays, metrics=False)
        self._restored, self.has_restored = (arrays, record), True
        self._position, self._has_saved = (epochs, step), True
        self._epochs, self._history = record["epochs"], record["history"]
        # One that a callback has stopped begins no other epoch.
        set_initial_epoch(model, self.params["epochs"] if record["stopped"] else epochs)
        if not step:  # otherwise in `on_epoch_begin`, after that of the other callbacks
            set_callback_states(self._others, record["callbacks"], arrays)
        self._prepare_start(arrays, epochs, step)

    def _prepare_start(self, arrays, epochs, step):
        draws = self._run and self._run.start.draws
        states = get_random_states(arrays, ["torch", "cuda"] if draws else None)
        if self._run:
            # Reading the epochs before may draw random numbers.
            on_start = None if step else functools.partial(set_random_states, states)
            self._run.start.set(epochs, step, on_start)
        self._random_states = states if step or not self._run else None

    def on_epoch_begin(self, epoch, logs=None):
        """Restore what Keras resets when training and epochs begin."""
        if self._restored is None:
            self._position = (epoch, 0)
            if not self._has_saved:
                self._save()
            return
        arrays, record = self._restored
        self._restored = None
        self._set_history()
        if record["step"]:
            set_callback_states(self._others, record["callbacks"], arrays)
            set_variables(self.model, arrays, metrics=True)
        if self._run:
            self._run.start.arm()
        else:
            set_random_states(self._random_states)
            self._random_states = None

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
        if batch > last and (self._interruption.received or self._times.is_due(batch, last)):
            self._position = (epoch, batch)
            self._save()
        self._stop_if_interrupted()

    def on_epoch_end(self, epoch, logs=None):
        """Save a backup of the complete epoch."""
        self._epochs.append(epoch)
        for name, value in (logs or {}).items():
            value = value if isinstance(value, str) else np.asarray(value).tolist()
            self._history.setdefault(name, []).append(value)
        self._position = (epoch + 1, 0)
        self._save()
        self._stop_if_interrupted()

    def _save(self):
        """Write a backup of the current position."""
        self._times.start()
        self._has_saved = True
        joins = distribution.joins_saving()
        found = get_state(self.model, self._others, self._one_process) if joins else ()
        with distribution.failing_together():
            if distribution.is_main_process():
                self._write(*found)

    def _write(self, arrays, state):
        self._check_finite(arrays)
        epoch, step = self._position
        record = {
            "epoch": epoch,
            "step": step,
            "epochs": self._epochs,
            "history": self._history,
            "stopped": bool(self.model.stop_training),
            **state,
            "settings": self._settings,
            "sample": self._run.sample if self._run else "",
        }
        self._folder.write(self._position, arrays, record)

    def _check_finite(self, arrays):
        name = first_nonfinite(self.model, arrays)
        if name:
            raise ArithmeticError(
                f"The weights became NaN or infinite by epoch {self._position[0] + 1}, first in "
                f"{name}, so they were not saved. {CURE} The last backup is {self._folder.last}."
            )

    def _stop_if_interrupted(self):
        if self._interruption.received:
            self._interruption.deliver(
                f"Interrupted. The backup {self._folder.last} is complete: to resume, start the "
                "same program again."
            )

    def on_train_end(self, logs=None):
        """Delete the backups, unless `delete_checkpoint` is False."""
        if self._restored:
            self._set_history()
        distribution.barrier()
        with distribution.failing_together():
            if self.delete_checkpoint and distribution.is_main_process():
                self._folder.delete()
            self.close()
        if self._interruption.received:
            self._interruption.deliver("Interrupted after the last epoch.")

    def close(self):
        """Unlock the folder, and restore the usual behavior of Ctrl-C and of later fits."""
        self._interruption.stop()
        self._forget_end()
        self._folder.release()
        if self.model is not None:
            set_initial_epoch(self.model, None)
        self._run, self._others = None, []
