"""What watches over a run."""

from keras_simclr.callbacks.backup_and_restore import BackupAndRestore as BackupAndRestore
