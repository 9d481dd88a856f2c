"""Warnings when training does not work."""

import math
import warnings
from typing import NamedTuple

import keras
import numpy as np

from keras_simclr import distribution

STEPS = 50  # between looks at the metrics: each makes the device wait
SMALL_BATCH = 64  # images
GROWTH = 20  # of the weights, to which no sensible learning rate leads in EARLY looks
EARLY = 4
METRICS = ("loss", "contrastive_accuracy", "relative_loss")


class Window(NamedTuple):
    """Means over some consecutive steps.

    Args:
        loss: The loss.
        accuracy: `contrastive_accuracy`.
        relative_loss: `relative_loss`.
    """

    loss: float
    accuracy: float
    relative_loss: float

    @property
    def others(self) -> float:
        """Number 2N - 1 of views that each view is compared with."""
        return math.exp(self.loss / self.relative_loss) if self.relative_loss else 0.0

    @property
    def chance(self) -> float:
        """The `contrastive_accuracy` of random embeddings."""
        return 1 / self.others if self.others else 0.0

    @property
    def is_collapsed(self) -> bool:
        """Whether loss and accuracy are no better than those of a collapsed model."""
        at_chance = self.accuracy < min(2 * self.chance, self.chance + 0.03)
        return at_chance and self.relative_loss > 0.98

    @property
    def is_saturated(self) -> bool:
        """Whether there is nothing left to learn from a small batch."""
        small = self.others < 2 * SMALL_BATCH - 1
        return small and self.accuracy > 0.995 and 0 <= self.relative_loss < 0.02


class WarnOnCollapse(keras.callbacks.Callback):
    """Warn when training has collapsed, stands still, or has nothing left to learn from.

    `SimCLR.fit` always uses it. It looks at the metrics of the last 50 steps and warns once of

    - a collapse: for 100 steps `contrastive_accuracy` was no better than chance, and the loss no
      better than that of a collapsed model. The first 50 steps do not count, as at first
      `relative_loss` may be above 1;
    - weights that grow 20 times as large in the first 200 steps;
    - views that are all the same;
    - a batch that is too small for the temperature: the loss of fewer than 64 images is near 0.

    With several processes, it looks at the end of epochs only. To turn the warnings off, use
    `warnings.filterwarnings("ignore", "Training ")`.

    Example:
    >>> callback = WarnOnCollapse()
    """

    def on_train_begin(self, logs=None):
        """Find out what can be looked at."""
        names = [metric.name for metric in self.model.metrics]
        self._is_active = set(METRICS) <= set(names)
        self._looks_within_epochs = self._is_active and distribution.num_processes() == 1
        self._windows, self._sum, self._steps = [], np.zeros(3), 0
        self._size, self._warned = None, set()

    def on_epoch_begin(self, epoch, logs=None):
        """Start where the metrics start."""
        self._seen, self._batch = (0, np.zeros(3)), None

    def on_train_batch_begin(self, batch, logs=None):
        """Look at the metrics every 50 steps."""
        # Not in `on_train_batch_end`: for that, Keras would wait for the results of every step.
        if not self._looks_within_epochs:
            return
        if self._size is None:
            self._size = _size(self.model)
        if self._batch is None and batch:  # a run that was resumed within an epoch
            self._seen = batch, batch * self._read()
        self._batch = batch
        if self._steps + batch - self._seen[0] >= STEPS:
            self._look(batch, self._read())

    def on_epoch_end(self, epoch, logs=None):
        """Look at the logs."""
        if self._is_active and logs:
            steps = (self._batch or 0) + self.model.steps_per_execution
            if not self._looks_within_epochs:
                steps = self.params.get("steps") or STEPS
            self._look(steps, np.array([float(logs[name]) for name in METRICS]))

    def _read(self):
        """Return the means of the metrics over the steps of the epoch so far."""
        results = self.model.get_metrics_result()
        return np.array([float(results[name]) for name in METRICS])

    def _look(self, steps, means):
        """Add the steps since the last look, and judge once there are enough."""
        before, total = self._seen
        self._sum += steps * means - total
        self._steps += steps - before
        self._seen = steps, steps * means
        if self._steps >= STEPS:
            self._windows.append(Window(*(self._sum / self._steps)))
            self._sum, self._steps = np.zeros(3), 0
            self._judge()

    def _judge(self):
        *earlier, last = self._windows
        growth = self._growth() if len(self._windows) <= EARLY else 1.0
        if not growth < GROWTH:
            self._warn("weights", _diverging(self.model, growth, last))
        elif not earlier and last.accuracy > 0.9 and not _views_differ(self.model):
            self._warn("views", _without_views(last))
        elif len(earlier) > 1 and last.is_collapsed and earlier[-1].is_collapsed:
            self._warn("collapse", _collapsed(self.model, earlier, last))
        elif last.is_saturated:
            self._warn("batch", _saturated(self.model, last))

    def _growth(self):
        """Return how many times as large as at first the weights are."""
        return _size(self.model) / self._size if self._size else 1.0

    def _warn(self, kind, text):
        if kind not in self._warned and distribution.is_main_process():
            warnings.warn(f"Training {text}", stacklevel=2)
        self._warned.add(kind)


def _size(model):
    """Return the L2 norm of all kernels together."""
    kernels = (v for v in model.trainable_variables if len(v.shape) > 1)
    arrays = (keras.ops.convert_to_numpy(v).astype("float32").ravel() for v in kernels)
    return math.sqrt(sum(float(np.dot(array, array)) for array in arrays))


def _rate(model):
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _diverging(model, growth, last):
    return (
        f"does not work: the weights have become {growth:.3g} times as large in its first steps. "
        f"The learning rate, now {_rate(model):.3g}, is much too high: try a tenth of it until "
        f"relative_loss, now {last.relative_loss:.3f}, falls, or the default of `compile()`."
    )


def _without_views(last):
    return (
        f"does not work: the two views of an image are the same, so that after {STEPS} steps "
        f"contrastive_accuracy is {last.accuracy:.1%}. The augmenter does nothing. Pass one that "
        "crops and changes colors, such as `SimCLRAugmenter()`, and look at "
        "`keras_simclr.layers.check_augmenter`."
    )


def _saturated(model, last):
    return (
        f"has nothing left to learn from: relative_loss is {last.relative_loss:.2g} and "
        f"contrastive_accuracy {last.accuracy:.1%}. The batch of {(last.others + 1) / 2:.0f} "
        f"images is too small for the temperature of {model.temperature:g}, or the views are too "
        "similar. Use larger batches (`micro_batch_size` saves memory), a higher temperature, or "
        "stronger views."
    )


def _collapsed(model, earlier, last):
    rate = _rate(model)
    numbers = (
        f"contrastive_accuracy is {last.accuracy:.2%}, by chance it would be {last.chance:.2%}, "
        f"and relative_loss is {last.relative_loss:.3f}, where 1 is a model whose embeddings are "
        "all the same."
    )
    best = max(window.accuracy for window in earlier)
    if best > 3 * last.chance + 0.03:
        return (
            f"has collapsed: {numbers} contrastive_accuracy was {best:.1%} before. The learning "
            f"rate, now {rate:.3g}, is probably too high: start over with a tenth of it or a "
            "longer warm-up. Other causes are a low temperature and float16."
        )
    return (
        f"stands still at the loss of a collapsed model: {numbers} Likely causes: a learning rate "
        f"that is much too high or too low (it is {rate:.3g}); images in another range than the "
        "backbone expects; images that are all alike; views so strong that nothing of an image is "
        "left (see `keras_simclr.plotting.plot_views`); a backbone that is frozen."
    )


def _views_differ(model):
    """Return whether the views of an image of random pixels differ."""
    lower, upper = model.value_range
    rng = np.random.default_rng(0)
    images = rng.uniform(lower, upper, size=(4, *model.view_shape)).astype("float32")
    repeated = keras.ops.convert_to_tensor(np.concatenate([images] * model.num_views))
    states = [(variable, variable.value) for variable in model.augmenter.variables]
    with keras.StatelessScope(state_mapping=states):  # random states do not change
        views = model.augmenter(repeated, training=True)
    views = keras.ops.convert_to_numpy(views).astype("float32")
    first, second = views[:4], views[4:8]
    return bool(np.abs(first - second).max() > 1e-3 * (upper - lower))
