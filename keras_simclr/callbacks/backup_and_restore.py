"""A backup after every epoch, complete at any moment."""

import re
import shutil
from pathlib import Path

import keras

from keras_simclr import distribution
from keras_simclr.files import move_into_place
from keras_simclr.keras_internals import set_initial_epoch

FINISHED = re.compile(r"epoch-(\d+)\.weights\.h5")


class BackupAndRestore(keras.callbacks.Callback):
    """Back up weights, optimizer and epoch after every epoch; the next `fit` resumes from there.

    Keras' own callback overwrites two files, one for the weights and one for the epoch. This
    backup is a single file, which is renamed atomically once complete: a run killed at any moment
    resumes as if nothing had happened, provided that model and data are created in the same way,
    with a seed.

    In a run with several processes, the main process writes the backup and all restore it.

    Args:
        backup_dir: Folder for the backup of this run, created if it does not exist. It must be
            shared by all processes.
        delete_checkpoint: Whether to delete the folder at the end of `fit`. Defaults to True.

    Raises:
        ValueError: When `fit` starts, if the model has not been built or does not match the
            backup, or if the processes see different backups.

    Example:
    >>> backup = BackupAndRestore("runs/backup")  # model.fit(images, callbacks=[backup])
    """

    def __init__(self, backup_dir: str | Path, delete_checkpoint: bool = True) -> None:
        super().__init__()
        self.backup_dir = Path(backup_dir)
        self.delete_checkpoint = delete_checkpoint

    @property
    def epochs_done(self):
        """Number of epochs in the backup; 0 if there is none."""
        return max(self._finished(), default=0)

    def on_train_begin(self, logs=None):
        """Restore the last backup, if there is one."""
        epoch = self.epochs_done
        if not distribution.same_on_all_processes(epoch):
            raise ValueError(
                "All processes must see the same backup. Received: a different number of epochs "
                f"in `{self.backup_dir}` of another process. Choose a folder that they all share."
            )
        if epoch:
            self._restore(epoch)

    def _restore(self, epoch):
        if not self.model.built:
            raise ValueError(
                "The model must be built before its backup can be restored. Received: "
                f"{self.model!r}. Call `model.build(input_shape)` first."
            )
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(self._finished()[epoch])
        set_initial_epoch(self.model, epoch)

    def on_epoch_end(self, epoch, logs=None):
        """Write the backup of this epoch, then remove the previous one."""
        if not distribution.joins_saving():
            return
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        previous = self._finished().values()
        unfinished = self.backup_dir / f"unfinished-{distribution.process_id()}.weights.h5"
        self.model.save_weights(unfinished, overwrite=True)
        if not distribution.is_main_process():
            unfinished.unlink()
            return
        move_into_place(unfinished, self.backup_dir / f"epoch-{epoch + 1}.weights.h5")
        for path in previous:
            path.unlink()

    def on_train_end(self, logs=None):
        """Delete the backup, unless `delete_checkpoint` is False."""
        set_initial_epoch(self.model, None)
        distribution.barrier()
        if self.delete_checkpoint and distribution.is_main_process():
            shutil.rmtree(self.backup_dir, ignore_errors=True)
        distribution.barrier()

    def _finished(self):
        paths = self.backup_dir.glob("*") if self.backup_dir.is_dir() else ()
        matches = ((FINISHED.fullmatch(path.name), path) for path in paths)
        return {int(match[1]): path for match, path in matches if match}
