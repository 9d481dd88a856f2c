"""The norm of the gradients of a step."""

import contextlib
import functools
import threading

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.callbacks.gradient_norm import NAME, GradientNorm
from keras_simclr.keras_internals import replaced


def is_wanted(callbacks):
    """Return whether there is a `GradientNorm` among callbacks."""
    return any(isinstance(callback, GradientNorm) for callback in callbacks)


class GradientNormMetric(keras.metrics.Mean):
    """Mean over the steps of the norm of their gradients, where it is finite.

    Attributes:
        is_active: Whether the model trains with a `GradientNorm` callback.
    """

    def __init__(self):
        super().__init__(name=NAME)
        self.is_active = False
        # The replicas of TensorFlow are threads.
        self._of_step = threading.local()

    @contextlib.contextmanager
    def recording(self, model, wanted):
        """Record the gradients that a model passes to its optimizer, in a context.

        Args:
            model: The model that trains.
            wanted: Whether to record them.
        """
        if not wanted:
            yield
            return
        is_jax = keras.backend.backend() == "jax"
        name, record = ("stateless_apply", self._on_jax) if is_jax else ("apply", self._elsewhere)
        optimizer = model.optimizer
        wrapped = functools.partial(record, optimizer, getattr(optimizer, name))
        self.is_active, model.train_function = True, None  # it may have been traced before
        try:
            with replaced(optimizer, name, wrapped):
                yield
        finally:
            self.is_active, model.train_function = False, None

    @contextlib.contextmanager
    def paused(self):
        """Log nothing in a context."""
        was_active, self.is_active = self.is_active, False
        try:
            yield
        finally:
            self.is_active = was_active

    def _on_jax(self, optimizer, apply, variables, gradients, trainable):
        values = {id(v): value for v, value in zip(optimizer.variables, variables, strict=True)}
        self._of_step.norm = _norm(gradients, _scale(optimizer, values))
        return apply(variables, gradients, trainable)

    def _elsewhere(self, optimizer, apply, gradients, trainable_variables=None):
        gradients = list(gradients)
        self._of_step.norm = _norm(gradients, _scale(optimizer, {}))
        return apply(gradients, trainable_variables)

    def update(self):
        """Add the gradients of this step."""
        norm = self._of_step.__dict__.pop("norm", None)
        if norm is not None:
            finite = ops.isfinite(norm)
            self.update_state(ops.where(finite, norm, 0.0), ops.cast(finite, "float32"))


def _norm(gradients, scale):
    """Return the norm of gradients that are `scale` times too large."""
    present = [ops.cast(g, "float32") / scale for g in gradients if g is not None]
    if distribution.num_replicas() > 1 and distribution.loss_divisor() > 1:
        present = [distribution.all_reduce_mean(g) * distribution.loss_divisor() for g in present]
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in present))


def _scale(optimizer, values):
    """Return the factor by which an optimizer has multiplied the loss."""
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is None:
        return optimizer.loss_scale_factor or 1.0
    return values.get(id(scale), scale)
