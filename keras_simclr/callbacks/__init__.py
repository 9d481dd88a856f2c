"""Callbacks for `fit`."""

from keras_simclr.callbacks.backup_and_restore import BackupAndRestore as BackupAndRestore
from keras_simclr.callbacks.terminate_on_nonfinite import (
    TerminateOnNonFinite as TerminateOnNonFinite,
)
