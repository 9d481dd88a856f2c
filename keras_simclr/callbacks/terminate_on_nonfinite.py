"""An error for runs that have diverged."""

import time

import keras
import numpy as np

from keras_simclr import distribution
from keras_simclr.callbacks.run_state import first_nonfinite

SECONDS = 10  # between checks within an epoch: each makes the device wait
CURE = "Lower the learning rate, raise the temperature, or look for damaged images."


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Raise an error when the loss, a weight or the gradients become NaN or infinite.

    `SimCLR.fit` and `fine_tune` always use it, ahead of all other callbacks, so that such weights
    are not written to a checkpoint. It checks at the end of every epoch, and with one process also
    every ten seconds. Unlike `keras.callbacks.TerminateOnNaN`, it raises an error, so scripts do
    not continue.

    Example:
    >>> callback = TerminateOnNonFinite()
    >>> callback.on_epoch_end(0, {"loss": float("nan")})
    Traceback (most recent call last):
        ...
    ArithmeticError: The loss became nan in epoch 1. Lower the learning rate, raise the \
temperature, or look for damaged images. The last checkpoint is from before.
    """

    def on_train_begin(self, logs=None):
        """Find out whether there are several processes."""
        self._one_process = distribution.num_processes() == 1

    def on_epoch_begin(self, epoch, logs=None):
        """Start to count the seconds."""
        self._epoch, self._checked_at = epoch, time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        """Raise an ArithmeticError if the loss of the steps so far is not finite."""
        if self._one_process and time.monotonic() - self._checked_at > SECONDS:
            loss = float(self.model.get_metrics_result()["loss"])
            _check_loss(loss, f"by step {batch} of epoch {self._epoch + 1}")
            self._checked_at = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Raise an ArithmeticError if loss or weights are not finite, or the loss scale too low."""
        _check_loss((logs or {}).get("loss", 0.0), f"in epoch {epoch + 1}")
        name = first_nonfinite(self.model)
        if name:
            raise ArithmeticError(
                f"The weights became NaN or infinite in epoch {epoch + 1}, first in {name}. {CURE} "
                "The last checkpoint is from before."
            )
        _check_loss_scale(self.model.optimizer, epoch)


def _check_loss(loss, when):
    if not np.isfinite(loss):
        raise ArithmeticError(
            f"The loss became {loss} {when}. {CURE} The last checkpoint is from before."
        )


def _check_loss_scale(optimizer, epoch):
    """Raise an ArithmeticError if Keras has lowered the loss scale too far."""
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is None:
        return
    scale = float(keras.ops.convert_to_numpy(scale))
    if scale < min(1, optimizer.initial_scale):
        raise ArithmeticError(
            "The gradients must be finite at some loss scale. Received: a loss scale that fell "
            f"from {optimizer.initial_scale:g} to {scale:g} by epoch {epoch + 1}; every step "
            "whose gradients overflow is skipped. Use the dtype policy `mixed_bfloat16`, lower "
            "the learning rate, or compile with a `keras.optimizers.LossScaleOptimizer` with a "
            "different `initial_scale`."
        )
