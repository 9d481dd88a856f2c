"""Checks that the backend can use the active distribution strategy."""

import os
import sys

import keras

CURES = {
    "tensorflow": "`tf.distribute.MirroredStrategy` or `MultiWorkerMirroredStrategy`",
    "jax": "`keras.distribution.set_distribution(keras.distribution.DataParallel())`",
    "torch": "`torchrun`",
}


def check_strategy():
    """Raise a ValueError if a distribution strategy of another backend is active."""
    backend = keras.backend.backend()
    for owner, (active, what) in _active().items():
        if active and owner != backend:
            raise ValueError(
                f"{what} is active, but has no effect on the backend {backend}: each process "
                f"or device would train a separate model. Received: KERAS_BACKEND={backend}. Use "
                f"{CURES[backend]}, or KERAS_BACKEND={owner}."
            )


def _active():
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
    grouped = (
        torch is not None
        and torch.distributed.is_available()
        and torch.distributed.is_initialized()
    )
    return {
        "tensorflow": (
            tensorflow is not None
            and hasattr(tensorflow, "distribute")
            and tensorflow.distribute.has_strategy(),
            "A strategy of `tf.distribute`",
        ),
        "jax": (
            keras.distribution.distribution() is not None,
            "A distribution of `keras.distribution`",
        ),
        "torch": (
            grouped or "TORCHELASTIC_RUN_ID" in os.environ,
            "A process group of `torch.distributed`",
        ),
    }
