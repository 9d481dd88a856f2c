"""The norm of the gradients in the logs."""

import keras

NAME = "gradient_norm"


class GradientNorm(keras.callbacks.Callback):
    """Log `gradient_norm`, the norm of the gradient of all weights, as the mean over an epoch.

    `SimCLR.fit` computes it within the step, of the whole batch, all micro-batches and devices,
    before the optimizer clips gradients. Steps whose gradients are not finite do not count. A norm
    that grows from epoch to epoch is a sign of a learning rate that is too high.

    Raises:
        ValueError: When training starts, if it is not that of `SimCLR.fit`.

    Example:
    >>> callback = GradientNorm()  # model.fit(images, callbacks=[callback])
    """

    def on_train_begin(self, logs=None):
        """Check that the model computes it."""
        if NAME not in self.model.get_metrics_result():
            raise ValueError(
                "`GradientNorm` works in `SimCLR.fit`. Received: the fit of "
                f"{type(self.model).__name__} {self.model.name!r}. Remove the callback."
            )
