"""A backup after every epoch, which is whole at any moment."""

import os
import re
import shutil
from pathlib import Path

import keras

from keras_simclr import distribution

FINISHED = re.compile(r"epoch-(\d+)\.weights\.h5")


class BackupAndRestore(keras.callbacks.Callback):
    """Keep weights, optimizer and epoch after every epoch, and go on from there in the next `fit`.

    Unlike Keras' own, whose weights and epoch are two files written in place, the backup is one
    file that takes its name when it is complete: a run killed at any moment goes on as if nothing
    had happened, provided that model and data are made in the same way, with a seed.

    Of several processes one keeps the backup, from which all go on.

    Args:
        backup_dir: Folder of this run's backup, made if it is not there. All processes must see
            the same one.
        delete_checkpoint: Whether to delete the folder when `fit` is done. Defaults to True.

    Raises:
        ValueError: When `fit` begins with a model that was not built, or that the backup does not
            fit, or if processes see different folders.

    Example:
    >>> backup = BackupAndRestore("runs/backup")  # model.fit(pictures, callbacks=[backup])
    """

    def __init__(self, backup_dir, delete_checkpoint=True):
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
        if not distribution.agree(epoch):
            raise ValueError(
                "All processes must see the same backup. Received: another number of epochs in "
                f"`{self.backup_dir}` of another process. Choose a folder that all share."
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
        self.model._initial_epoch = epoch  # as Keras' own callback does

    def on_epoch_end(self, epoch, logs=None):
        """Write the backup of this epoch, then remove the one before."""
        if not distribution.saves():
            return
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        before = self._finished().values()
        beside = self.backup_dir / f"unfinished-{distribution.process()}.weights.h5"
        self.model.save_weights(beside, overwrite=True)
        if not distribution.is_writer():
            beside.unlink()
            return
        os.replace(beside, self.backup_dir / f"epoch-{epoch + 1}.weights.h5")
        for path in before:
            path.unlink()

    def on_train_end(self, logs=None):
        """Delete the backup, which is done with; the next `fit` begins where it is told to."""
        self.model._initial_epoch = None
        distribution.wait()
        if self.delete_checkpoint and distribution.is_writer():
            shutil.rmtree(self.backup_dir, ignore_errors=True)
        distribution.wait()

    def _finished(self):
        paths = self.backup_dir.glob("*") if self.backup_dir.is_dir() else ()
        matches = ((FINISHED.fullmatch(path.name), path) for path in paths)
        return {int(match[1]): path for match, path in matches if match}
