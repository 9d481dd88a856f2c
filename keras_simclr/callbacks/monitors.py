"""Base class of the callbacks that evaluate features during `fit`."""

from typing import Any

import keras
import numpy as np

from keras_simclr import distribution
from keras_simclr.validation import check_positive_integer


class Monitor(keras.callbacks.Callback):
    """Base class of callbacks that add values to the logs of every epoch.

    Values are measured in the first epoch, then in every `every`-th, and in the last one; the
    epochs in between repeat the last values, so that each epoch has a value in the history and in
    the files of `CSVLogger`. `SimCLR.fit` calls these callbacks before those that read the logs.

    Args:
        every: Number of epochs from one measurement to the next.
        *images: Arrays of images to measure on; `SimCLR.fit` checks them before training.
    """

    def __init__(self, every: int, *images: np.ndarray) -> None:
        super().__init__()
        check_positive_integer("every", every)
        self.every = every
        self.images = images
        self._values: dict[str, float] = {}

    def measure(self) -> dict[str, float]:
        """Return the values to log."""
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        """Forget the values of an earlier training."""
        self._values = {}

    def on_epoch_end(self, epoch, logs=None):
        """Add the values to the logs."""
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if not self._values or epoch % self.every == 0 or is_last:
            # The same in all processes, since callbacks decide by it when to stop.
            self._values = distribution.all_reduce_logs(self.measure())
        if logs is not None:
            logs.update(self._values)

    def get_state(self) -> dict[str, float]:
        """Return what `BackupAndRestore` saves: the last values."""
        return self._values

    def set_state(self, state: dict[str, float]) -> None:
        """Restore the last values."""
        self._values = dict(state)


def sampled(images: Any, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `count` random images of an array, and their indices.

    Raises:
        ValueError: If `images` is not an array.
    """
    check_positive_integer("max_images", count)
    if not hasattr(images, "shape") or len(images.shape) != 4:
        raise ValueError(
            "Images must be an array of shape (N, height, width, channels). Received: "
            f"{type(images).__name__}. Collect some batches of a dataset with `np.concatenate`."
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(images), min(count, len(images)), replace=False))
    return keras.ops.convert_to_numpy(images[chosen]), chosen
