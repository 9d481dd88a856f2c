"""The methods whose accuracy with few labels is compared."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_simclr.evaluation.features import (
    check_features,
    check_labels,
    embedding,
    encode_labels,
)
from keras_simclr.evaluation.linear_probe import linear_probe
from keras_simclr.optimizers import warmup_cosine
from keras_simclr.validation import check_choice

METHODS = ("fine-tuned", "linear probe", "from scratch", "pixels")
FITTED = ("fine-tuned", "from scratch")  # those that only a `SimCLR` allows
PASSES, MIN_STEPS = 30, 300  # of fine-tuning and training from scratch, by default


def check_methods(methods: Sequence[str] | None, model: Any) -> tuple[str, ...]:
    """Return the methods to compare, by default all that the model allows, but "pixels".

    Raises:
        ValueError: If a method is unknown, or the model does not allow it.
    """
    can_fit = hasattr(model, "fine_tune")
    if methods is None:
        return METHODS[:3] if can_fit else ("linear probe",)
    for method in methods:
        check_choice("methods", method, METHODS)
        if method in FITTED and not can_fit:
            raise ValueError(
                f"Only a `SimCLR` can be {'trained ' * (method != FITTED[0])}{method}. Received: "
                f'{model!r}. Pass the `SimCLR`, or `methods=("linear probe",)`.'
            )
    return tuple(methods)


@dataclasses.dataclass(frozen=True)
class LabeledImages:
    """Images for training and testing, with labels as indices of classes."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    num_classes: int

    @classmethod
    def of(cls, train: tuple[Any, Any], test: tuple[Any, Any]) -> "LabeledImages":
        """Check `(images, labels)` of both.

        Raises:
            ValueError: If numbers of images and labels differ, or `test` has a class of its own.
        """
        (x_train, y_train), (x_test, y_test) = train, test
        y_train = check_labels(y_train, len(x_train), "train")
        y_test = check_labels(y_test, len(x_test), "test")
        classes, indices = encode_labels(y_train)
        unknown = np.setdiff1d(y_test, classes)
        if len(unknown):
            raise ValueError(
                "The classes of `test` must be among those of `train`. Received: "
                f"{unknown[:5].tolist()}, which `train` does not have."
            )
        tested = np.searchsorted(classes, y_test)
        return cls(np.asarray(x_train), indices, np.asarray(x_test), tested, len(classes))


class Measurement:
    """Measure the accuracy of each method on the images that are drawn.

    Args:
        model: A `SimCLR`, an encoder, or None if the data are features.
        data: `LabeledImages`.
        batch_size: Images per batch, at most as many as are drawn.
        steps: Steps of fine-tuning and of training from scratch, or None for the default.
        rates: Learning rates for training from scratch.
        C: As in `linear_probe`.
    """

    def __init__(
        self,
        model: Any,
        data: LabeledImages,
        batch_size: int,
        steps: int | None,
        rates: Sequence[float],
        C: float | str,
    ) -> None:
        self._model, self._data = model, data
        self._batch_size, self._steps = batch_size, steps
        self._rates, self._C = tuple(rates), C
        with embedding(model) as embed:
            self._features = check_features(embed(data.train), "train")
            self._test_features = check_features(embed(data.test), "test")

    def accuracy(self, method: str, rows: np.ndarray, seed: int) -> float:
        """Return the accuracy of a method that learns from these rows of the images."""
        if method == "fine-tuned":
            return self._fit(self._model, rows)
        if method == "linear probe":
            return self._probe(self._features, self._test_features, rows)
        if method == "pixels":
            return self._probe(_flat(self._data.train), _flat(self._data.test), rows)
        return max(self._fit_from_scratch(rows, rate, seed) for rate in self._rates)

    def _probe(self, train, test, rows):
        probe = linear_probe(train[rows], self._data.train_labels[rows], C=self._C)
        return probe.score(test, self._data.test_labels)

    def _fit_from_scratch(self, rows, rate, seed):
        optimizer = keras.optimizers.AdamW(warmup_cosine(rate, self._num_steps(len(rows))))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This model was not pretrained")
            return self._fit(self._model.untrained_copy(seed), rows, optimizer=optimizer)

    def _fit(self, model, rows, **options):
        classifier = model.fine_tune(
            self._data.train[rows],
            self._data.train_labels[rows],
            num_classes=self._data.num_classes,
            batch_size=min(self._batch_size, len(rows)),
            epochs=1,
            steps_per_epoch=self._num_steps(len(rows)),
            verbose=0,
            **options,
        )
        test = self._data.test, self._data.test_labels
        return float(classifier.evaluate(*test, verbose=0, return_dict=True)["accuracy"])

    def _num_steps(self, count):
        default = max(MIN_STEPS, PASSES * math.ceil(count / self._batch_size))
        return default if self._steps is None else self._steps

    def protocol(self, methods: Sequence[str], draws: int, seed: int) -> str:
        """Return how the accuracies were measured."""
        parts = [
            f"Accuracy on {len(self._data.test_labels):,} test images, mean and standard error of "
            f"{draws} class-balanced draws of the labels from seed {seed}"
        ]
        if set(FITTED) & set(methods):
            steps = self._steps or f"{PASSES} passes, at least {MIN_STEPS}"
            parts.append(f"training: {steps} steps, batches of up to {self._batch_size}")
        if "from scratch" in methods:
            rates = " and ".join(map(str, self._rates))
            parts.append(f"from scratch: AdamW with a cosine, the better of {rates} on the test")
        if {"linear probe", "pixels"} & set(methods):
            parts.append(f"logistic regression: C={self._C}")
        return "; ".join(parts)


def _flat(images):
    return images.reshape(len(images), -1)
