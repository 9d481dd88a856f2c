"""Logistic regression on features."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from keras_simclr.evaluation.features import (
    check_features,
    check_labels,
    embedding,
    encode_labels,
    load,
)
from keras_simclr.evaluation.result import Result
from keras_simclr.validation import check_positive, check_positive_integer

STRENGTHS = tuple(10.0**exponent for exponent in range(-5, 5))  # values of C, strong to weak
HELD_OUT = 0.2  # of the labels of each class
PATIENCE = 2  # weaker penalties in succession that do worse, before the search ends


@dataclasses.dataclass(frozen=True, eq=False)
class LinearProbe(Result):
    """A logistic regression that was fitted to features.

    Args:
        pipeline: The `sklearn.pipeline.Pipeline`, from features to classes.
        C: Inverse strength of the L2 penalty.
        held_out: {C: accuracy on held-out labels}; empty if `C` was given.
        num_labels: Number of labels that it was fitted to.
        protocol: How it was fitted.
        model: The model whose features it takes, or None.
    """

    pipeline: Any = dataclasses.field(repr=False)
    C: float
    held_out: dict[float, float]
    num_labels: int
    protocol: str
    model: Any = dataclasses.field(default=None, repr=False)

    def predict(self, features: Any) -> np.ndarray:
        """Return the classes of features, or of images if the probe has a model."""
        return self.pipeline.predict(self._features(features))

    def predict_proba(self, features: Any) -> np.ndarray:
        """Return the probabilities of the classes, of shape (N, number of classes)."""
        return self.pipeline.predict_proba(self._features(features))

    def score(self, features: Any, labels: Any) -> float:
        """Return the accuracy on features, or on images if the probe has a model, in 0..1."""
        features = self._features(features)
        return float(self.pipeline.score(features, check_labels(labels, len(features))))

    def _features(self, features):
        with embedding(self.model) as embed:
            return check_features(embed(features))

    def table(self) -> list[list[str]]:
        """Return a row for each penalty that was tried."""
        rows = [[f"{C:g}", f"{accuracy:.1%}"] for C, accuracy in self.held_out.items()]
        return [["C", "held-out accuracy"], *(rows or [[f"{self.C:g}", "-"]])]


def linear_probe(
    features: Any,
    labels: Any,
    C: float | str = 1.0,
    max_iter: int = 1000,
    model: Any = None,
    seed: int = 0,
) -> LinearProbe:
    """Fit scikit-learn's logistic regression to features that are scaled to unit variance.

    With `C="auto"`, a fifth of the labels of each class is held out. The penalties from 1e-5 to
    1e4 are tried from strong to weak on the others, each starting where the one before ended,
    until two in succession do worse on the held-out labels than the best. The probe is then
    fitted to all labels with the best penalty.

    Args:
        features: Array of shape (N, D), as returned by `model.predict(images)`, or images if
            there is a `model`.
        labels: Classes, of shape (N,).
        C: Inverse strength of the L2 penalty, or "auto". Defaults to 1.0.
        max_iter: Maximum number of iterations of the solver. Defaults to 1000.
        model: A `SimCLR`, an encoder, or the path of a saved one, for images. Defaults to None:
            `features` are features.
        seed: Seed of the choice of held-out labels. Defaults to 0.

    Returns:
        A `LinearProbe`: `.score(features, labels)` returns the accuracy in 0..1,
        `.predict(features)` the classes.

    Raises:
        ValueError: If shapes do not match, a feature is not finite, there is only one class, or
            `C` is not positive.

    Example:
    >>> probe = linear_probe([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]], [0, 0, 1])
    >>> probe.score([[0.0, 0.8], [0.9, 0.1]], [0, 1])
    1.0

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix B.8 (linear evaluation by L-BFGS).
    """
    if C != "auto":
        check_positive("C", C, cure='Or pass "auto".')
    check_positive_integer("max_iter", max_iter)
    model = None if model is None else load(model)
    with embedding(model) as embed:
        features = check_features(embed(features))
    labels = check_labels(labels, len(features))
    encode_labels(labels)
    held_out = _try_all(features, labels, max_iter, seed) if C == "auto" else {}
    used = max(held_out, key=held_out.__getitem__) if held_out else C
    pipeline = _pipeline(used, max_iter).fit(features, labels)
    chosen = f"chosen on {HELD_OUT:.0%} of the labels" if held_out else "given"
    protocol = f"Logistic regression on standardized features, {len(labels)} labels, C {chosen}"
    return LinearProbe(pipeline, float(used), held_out, len(labels), protocol, model)


def _pipeline(C, max_iter, **options):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=C, max_iter=max_iter, **options)
    return make_pipeline(StandardScaler(), regression)


def _try_all(features, labels, max_iter, seed):
    """Return {C: accuracy on held-out labels}, from the strongest penalty to the weakest."""
    from sklearn.exceptions import ConvergenceWarning

    held = _held_out(labels, seed)
    scaler, regression = (
        step for _, step in _pipeline(STRENGTHS[0], max_iter, warm_start=True).steps
    )
    fitted, tested = scaler.fit_transform(features[~held]), scaler.transform(features[held])
    found: dict[float, float] = {}
    worse = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for C in STRENGTHS:
            regression.set_params(C=C).fit(fitted, labels[~held])
            accuracy = float(regression.score(tested, labels[held]))
            worse = worse + 1 if found and accuracy < max(found.values()) else 0
            found[C] = accuracy
            if worse == PATIENCE:
                break
    return found


def _held_out(labels, seed):
    """Return which labels are held out: a fifth of each class, and at least one."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise ValueError(
                'C="auto" needs at least 2 labels per class, one of them to hold out. Received: 1 '
                f"label of class {label}. Pass a number, such as C=1.0."
            )
        held[rng.choice(rows, max(1, round(HELD_OUT * len(rows))), replace=False)] = True
    return held
