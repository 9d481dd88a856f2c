"""Callbacks for `fit`."""

from keras_simclr.callbacks.backup_and_restore import BackupAndRestore as BackupAndRestore
from keras_simclr.callbacks.embedding_health import EmbeddingHealth as EmbeddingHealth
from keras_simclr.callbacks.gradient_norm import GradientNorm as GradientNorm
from keras_simclr.callbacks.knn_monitor import KNNMonitor as KNNMonitor
from keras_simclr.callbacks.replay_step import ReplayStep as ReplayStep
from keras_simclr.callbacks.terminate_on_nonfinite import (
    TerminateOnNonFinite as TerminateOnNonFinite,
)
from keras_simclr.callbacks.warn_on_collapse import WarnOnCollapse as WarnOnCollapse
