"""An error for runs that have diverged."""

import time

import keras
import numpy as np

from keras_simclr import distribution
from keras_simclr.callbacks.run_state import first_nonfinite
from keras_simclr.keras_internals import images_seen

SECONDS = 10  # between checks within an epoch: each makes the device wait
CURE = "Lower the learning rate, raise the temperature, or look for damaged images."
REPLAY = " `keras_simclr.callbacks.ReplayStep` shows in which layer."


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Raise an error when the loss, a weight or the gradients become NaN or infinite.

    `SimCLR.fit` and `fine_tune` always use it, ahead of all other callbacks, so that such weights
    are not written to a checkpoint. It checks at the end of every epoch, and with one process also
    every ten seconds. Unlike `keras.callbacks.TerminateOnNaN`, it raises an error, so scripts do
    not continue. In pretraining the error names the first step whose loss was not finite, which
    `ReplayStep` repeats.

    Example:
    >>> callback = TerminateOnNonFinite()
    >>> callback.on_epoch_end(0, {"loss": float("nan")})
    Traceback (most recent call last):
        ...
    ArithmeticError: The loss became nan in epoch 1. Lower the learning rate, raise the \
temperature, or look for damaged images. The last checkpoint is from before.
    """

    _steps = 0  # steps of this epoch that are in the metrics

    def on_train_begin(self, logs=None):
        """Find out whether there are several processes."""
        self._one_process = distribution.num_processes() == 1

    def on_epoch_begin(self, epoch, logs=None):
        """Start to count the seconds."""
        self._epoch, self._steps, self._checked_at = epoch, 0, time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        """Raise an ArithmeticError if the loss of the steps so far is not finite."""
        self._steps = batch
        if self._one_process and time.monotonic() - self._checked_at > SECONDS:
            self._check_steps()
            self._checked_at = time.monotonic()
        ends = batch + self.model.steps_per_execution
        self._steps = min(ends, self.params.get("steps") or ends)

    def on_test_begin(self, logs=None):
        """Raise an ArithmeticError before validation, which resets the metrics."""
        if self._steps and self._one_process:
            self._check_steps()
        self._steps = 0

    def on_epoch_end(self, epoch, logs=None):
        """Raise an ArithmeticError if loss or weights are not finite, or the loss scale too low."""
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            raise _error(loss, self._first_step(), f"epoch {epoch + 1}")
        name = first_nonfinite(self.model)
        if name:
            raise ArithmeticError(
                f"The weights became NaN or infinite in epoch {epoch + 1}, first in {name}. {CURE} "
                "The last checkpoint is from before."
            )
        _check_loss_scale(self.model.optimizer, epoch)

    def _check_steps(self):
        loss = float(self.model.get_metrics_result()["loss"])
        if not np.isfinite(loss):
            raise _error(loss, self._first_step(), f"epoch {self._epoch + 1}")

    def _first_step(self):
        """Return the number of the first step of this epoch whose loss was not finite, or None.

        The accuracy of pretraining counts only the views of steps with a finite loss.
        """
        views = getattr(self.model, "num_views", None)
        if not self._steps or views is None:
            return None
        metrics = {metric.name: metric for metric in self.model.metrics}
        counts = (metrics["contrastive_accuracy"].count, images_seen(self.model))
        finite, images = (float(keras.ops.convert_to_numpy(count)) for count in counts)
        total = images * views * (views - 1)  # views in all pairs
        return round(self._steps * finite / total) + 1 if finite < total else None


def _error(loss, step, epoch):
    """Return the error for a loss that is not finite, since a step if it is known."""
    when, cure = (f"in {epoch}", "") if step is None else (f"in step {step} of {epoch}", REPLAY)
    return ArithmeticError(
        f"The loss became {loss} {when}. {CURE} The last checkpoint is from before.{cure}"
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
