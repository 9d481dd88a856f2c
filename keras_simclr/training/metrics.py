"""The loss of a step, and what is logged of it."""

import keras
from keras import ops

from keras_simclr import distribution
from keras_simclr.keras_internals import additional_losses
from keras_simclr.losses import NTXentLoss
from keras_simclr.training.gradient_norm import GradientNormMetric
from keras_simclr.training.pairs import compare_pairs, loss_of_collapsed_model, weights_while_finite


class LoggedMetrics(keras.Model):
    """Base class of `SimCLR` that implements the loss and the metrics of a step."""

    def _init_metrics(self):
        self._contrastive_accuracy = keras.metrics.Mean(name="contrastive_accuracy")
        self._relative_loss = keras.metrics.Mean(name="relative_loss")
        self._gradient_norm = GradientNormMetric()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of embeddings `y_pred` of shape (N, K, D), and update the metrics."""
        used = self._contrastive_loss or NTXentLoss(self.temperature)
        loss, correct = compare_pairs(used, y_pred)
        views = ops.cast(2 * ops.shape(y_pred)[0] * distribution.num_replicas(), "float32")
        collapsed = loss_of_collapsed_model(used, views)
        relative = loss * distribution.loss_divisor() / collapsed
        self._relative_loss.update_state(relative, sample_weight=views * collapsed)
        weights = weights_while_finite(self._relative_loss.total, correct)
        self._contrastive_accuracy.update_state(correct, weights)
        return loss + additional_losses(self)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the norm of the gradients as well."""
        self._gradient_norm.update()
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self):
        """Return the values of the metrics, without those that are not logged."""
        results = super().get_metrics_result()
        if not self._gradient_norm.is_active:
            del results[self._gradient_norm.name]
        return results
