"""Accuracy by number of labels."""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_simclr.evaluation.features import load, unchanged
from keras_simclr.evaluation.label_methods import LabeledImages, Measurement, check_methods
from keras_simclr.evaluation.result import Result
from keras_simclr.validation import check_positive, check_positive_integer, is_integer

BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True, eq=False)
class LabelEfficiency(Result):
    """The accuracy of several methods with different numbers of labels.

    Args:
        accuracies: {method: {number of labels: accuracies}}, one accuracy for each draw.
        names: {number of labels: what was asked for}, such as "5 per class".
        num_classes: Number of classes.
        protocol: How they were measured.
    """

    accuracies: dict[str, dict[int, list[float]]]
    names: dict[int, str]
    num_classes: int
    protocol: str

    def mean(self, method: str, num_labels: int) -> float:
        """Return the mean accuracy over the draws."""
        return float(np.mean(self.accuracies[method][num_labels]))

    def standard_error(self, method: str, num_labels: int) -> float | None:
        """Return the standard error of the mean, or None if there was only one draw."""
        values = self.accuracies[method][num_labels]
        return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None

    def per_class(self) -> dict[str, dict[float, list[float]]]:
        """Return {method: {labels per class: accuracies}}, for `plot_label_efficiency`."""
        return {
            method: {_exact(count / self.num_classes): list(v) for count, v in values.items()}
            for method, values in self.accuracies.items()
        }

    def table(self) -> list[list[str]]:
        """Return a row for each number of labels, in percent."""
        rows = [
            [f"{name} ({count:,})", *(self._cell(method, count) for method in self.accuracies)]
            for count, name in self.names.items()
        ]
        return [["labels", *self.accuracies], *rows]

    def _cell(self, method, num_labels):
        error = self.standard_error(method, num_labels)
        spread = "" if error is None else f" ± {100 * error:.1f}"
        return f"{100 * self.mean(method, num_labels):.1f}{spread} %"


def label_efficiency(
    model: Any,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    labels: Sequence[float] = (0.01, 0.1, 1.0),
    methods: Sequence[str] | None = None,
    draws: int = 3,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    steps: int | None = None,
    scratch_rates: Sequence[float] = (1e-3, 3e-3),
    C: float | str = 1.0,
    verbose: int = 0,
) -> LabelEfficiency:
    """Measure the accuracy on test images after training with different numbers of labels.

    The methods are

    - "fine-tuned": `model.fine_tune` with its defaults;
    - "linear probe": `linear_probe` on the model's features;
    - "from scratch": the same network with random weights, trained by AdamW with a cosine, with
      the same views, batches and steps. The learning rate that does best on the test images
      counts;
    - "pixels": `linear_probe` on the raw pixels.

    Args:
        model: A `SimCLR`, an encoder, or the path of a saved one, or None if the data are
            features. Only a `SimCLR` can be fine-tuned and trained from scratch; its `classifier`
            is then the last one that was fine-tuned.
        train: `(images, labels)`, arrays of shapes (N, H, W, C) and (N,), of which labels are
            drawn.
        test: `(images, labels)` to measure the accuracy on.
        labels: How many labels to draw: an integer is a number per class, a float a fraction of
            each class, of which at least one label is drawn. Defaults to (0.01, 0.1, 1.0).
        methods: Names of methods. Defaults to None: all that the model allows, but "pixels".
        draws: Number of draws of the labels; all labels are drawn only once. Defaults to 3.
        seed: Seed of the first draw; the next ones have the seeds after it. Defaults to 0.
        batch_size: Images per batch, at most as many as are drawn. Defaults to 256.
        steps: Steps of fine-tuning and of training from scratch. Defaults to None: 30 passes over
            the drawn images, and at least 300 steps.
        scratch_rates: Learning rates for training from scratch. Defaults to (1e-3, 3e-3).
        C: As in `linear_probe`. Defaults to 1.0.
        verbose: 1 to print the accuracies of each draw. Defaults to 0.

    Returns:
        A `LabelEfficiency`; `print` shows means and standard errors.

    Raises:
        ValueError: If data or arguments are invalid, or a class has too few labels. Raised before
            any training.

    Example:
    >>> rng, classes = np.random.default_rng(0), np.arange(40) % 2
    >>> features = np.eye(2)[classes] + 0.1 * rng.normal(size=(40, 2))
    >>> train, test = (features[:30], classes[:30]), (features[30:], classes[30:])
    >>> result = label_efficiency(None, train, test, labels=(1, 5), draws=2)
    >>> result.mean("linear probe", 10)  # 5 of each class
    1.0

    References:
        Chen et al. 2020 (arXiv:2002.05709), section 6 and table 7.
    """
    model = None if model is None else load(model)
    methods = check_methods(methods, model)
    _check_numbers(labels, draws, batch_size, steps, scratch_rates, C)
    data = LabeledImages.of(train, test)
    counts = _counts(labels, data.train_labels)
    if C == "auto" and min(drawn.min() for drawn in counts.values()) < 2:
        raise ValueError(
            f'C="auto" needs at least 2 labels per class. Received: {labels=}. Pass a number as '
            "`C`, such as 1.0."
        )
    accuracies: dict[str, dict[int, list[float]]] = {method: {} for method in methods}
    names = {int(drawn.sum()): name for name, drawn in counts.items()}
    with unchanged(model) if model else contextlib.nullcontext():
        measure = Measurement(model, data, batch_size, steps, scratch_rates, C)
        for name, drawn in counts.items():
            complete = np.array_equal(drawn, np.bincount(data.train_labels))
            for draw in range(seed, seed + (1 if complete else draws)):
                rows = _draw(data.train_labels, drawn, draw)
                for method in methods:
                    value = measure.accuracy(method, rows, draw)
                    accuracies[method].setdefault(len(rows), []).append(value)
                    if verbose:
                        print(f"{name}, draw {draw}, {method}: {value:.1%}", flush=True)
    protocol = measure.protocol(methods, draws, seed)
    return LabelEfficiency(accuracies, names, data.num_classes, protocol)


def _check_numbers(labels, draws, batch_size, steps, scratch_rates, C):
    check_positive_integer("draws", draws)
    check_positive_integer("batch_size", batch_size)
    if steps is not None:
        check_positive_integer("steps", steps)
    if not scratch_rates:
        raise ValueError(
            f"`scratch_rates` must not be empty. Received: {scratch_rates=}. Leave it out."
        )
    for rate in scratch_rates:
        check_positive("scratch_rates", rate)
    if C != "auto":
        check_positive("C", C)
    valid = [is_integer(n) and n > 0 or isinstance(n, float) and 0 < n <= 1 for n in labels]
    if not valid or not all(valid):
        raise ValueError(
            "`labels` must be integers, numbers of labels per class, or floats above 0 and up to "
            f"1, fractions of each class. Received: labels={labels!r}."
        )


def _counts(labels, train_labels):
    """Return {what was asked for: how many labels of each class to draw}."""
    counts = {_name(n): _labels_per_class(n, train_labels) for n in labels}
    if len({int(drawn.sum()) for drawn in counts.values()}) < len(labels):
        raise ValueError(
            "`labels` must lead to different numbers of labels. Received: "
            f"labels={labels!r} with {len(train_labels)} labels."
        )
    return counts


def _name(n):
    if is_integer(n):
        return f"{n} per class"
    return "all" if n == 1 else f"{100 * n:g} %"


def _exact(number):
    return int(number) if number == int(number) else number


def _labels_per_class(n, labels):
    """Return how many labels of each class to draw."""
    available = np.bincount(labels)
    if not is_integer(n):
        return np.maximum(1, np.rint(n * available)).astype(int)
    if n > available.min():
        raise ValueError(
            f"`labels` must be at most the number of images of each class. Received: {n} with "
            f"a class of {available.min()}. Pass fewer, or a fraction such as 0.1."
        )
    return np.full(len(available), n)


def _draw(labels, counts, seed):
    """Return the indices of random images, `counts` of each class."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == label), count, replace=False)
            for label, count in enumerate(counts)
        ]
    )
