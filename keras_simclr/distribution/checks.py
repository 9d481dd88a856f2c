"""Whether the devices that were asked for are those that the backend can use."""

import os
import sys

import keras

CURES = {
    "tensorflow": "`tf.distribute.MirroredStrategy` or `MultiWorkerMirroredStrategy`",
    "jax": "`keras.distribution.set_distribution(keras.distribution.DataParallel())`",
    "torch": "`torchrun`",
}


def check_strategy():
    """Raise a ValueError if the means of another backend to use many devices is active."""
    backend = keras.backend.backend()
    for owner, (active, what) in _active().items():
        if active and owner != backend:
            raise ValueError(
                f"{what} is active, but has no effect on the backend {backend}: every device "
                f"would train a model of its own. Received: KERAS_BACKEND={backend}. Use "
                f"{CURES[backend]}, or KERAS_BACKEND={owner}."
            )


def _active():
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
    group = torch is not None and torch.distributed.is_available()
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
            (group and torch.distributed.is_initialized()) or "TORCHELASTIC_RUN_ID" in os.environ,
            "A process group of `torch.distributed`",
        ),
    }
