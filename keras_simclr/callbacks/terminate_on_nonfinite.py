"""An error for runs that have diverged."""

import keras
import numpy as np


class TerminateOnNonFinite(keras.callbacks.Callback):
    """Raise an error when the loss or the gradients become NaN or infinite.

    `SimCLR.fit` and `fine_tune` always use it, ahead of all other callbacks, so that such weights
    are not written to a checkpoint. Unlike `keras.callbacks.TerminateOnNaN`, it raises an error,
    so scripts do not continue.

    Example:
    >>> callback = TerminateOnNonFinite()
    >>> callback.on_epoch_end(0, {"loss": float("nan")})
    Traceback (most recent call last):
        ...
    ArithmeticError: The loss became nan in epoch 1. Lower the learning rate, raise the \
temperature, or look for damaged images. The last checkpoint is from before.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Raise an ArithmeticError if the loss is not finite or the loss scale is too low."""
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            raise ArithmeticError(
                f"The loss became {loss} in epoch {epoch + 1}. Lower the learning rate, raise the "
                "temperature, or look for damaged images. The last checkpoint is from before."
            )
        _check_loss_scale(self.model.optimizer, epoch)


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
