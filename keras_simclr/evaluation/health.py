"""The health of features, measured without labels."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_simclr.evaluation.features import check_features, check_same_dimension, embedding
from keras_simclr.evaluation.result import Result
from keras_simclr.validation import check_positive_integer

DEAD = 1e-3  # standard deviation of a dead dimension, relative to the root mean square feature
CHUNK_SIZE = 1024  # rows compared, or added up, at a time


@dataclasses.dataclass(frozen=True)
class HealthReport(Result):
    """The health of features, measured without labels.

    Args:
        effective_rank: Number of dimensions that the features use, from 1 to D.
        uniformity: 0 if all features point in the same direction, down to about -4 if they are
            spread evenly.
        alignment: Mean squared distance of the two views of an image, from 0 to 4, or None.
        dead_dimensions: Fraction of the dimensions that hardly vary.
        norm_spread: Standard deviation of the lengths of the features, relative to their mean.
        num_images: Number N of features.
        num_dimensions: Number D of dimensions.
        protocol: How they were measured.
    """

    effective_rank: float
    uniformity: float
    alignment: float | None
    dead_dimensions: float
    norm_spread: float
    num_images: int
    num_dimensions: int
    protocol: str

    def table(self) -> list[list[str]]:
        """Return a row for each number."""
        return [
            ["effective rank", f"{self.effective_rank:.1f} of {self.num_dimensions}"],
            ["uniformity", f"{self.uniformity:.3f}"],
            ["alignment", "-" if self.alignment is None else f"{self.alignment:.3f}"],
            ["dead dimensions", f"{self.dead_dimensions:.1%}"],
            ["spread of the norm", f"{self.norm_spread:.1%}"],
        ]


def embedding_health(
    features: Any, views: Any = None, model: Any = None, max_pairs_from: int = 5000
) -> HealthReport:
    r"""Measure how well features use their space, without labels.

    With `f` the features scaled to unit length and `p` the singular values of the matrix of
    features, scaled to the sum 1:

    - effective rank (RankMe): `exp(-sum_i p(i) log p(i))`
    - uniformity: `log mean_{i != j} exp(-2 |f(i) - f(j)|^2)`, the lower the better
    - alignment: `mean_i |f(i) - f'(i)|^2` with `f'` the features of other views, the lower the
      better

    A dimension is dead if its standard deviation is below 0.1 % of the root mean square of all
    features.

    Args:
        features: Array of shape (N, D), or images if there is a `model`.
        views: Features of other views of the same images, of shape (N, D), or these views, for
            the alignment. Defaults to None.
        model: A `SimCLR`, an encoder, or the path of a saved one, for images. Defaults to None:
            `features` and `views` are features.
        max_pairs_from: Maximum number of rows, at equal distances, whose pairs are used for the
            uniformity. Defaults to 5000.

    Returns:
        A `HealthReport`.

    Raises:
        ValueError: If shapes do not match, a feature is not finite, or there is only one.

    Example:
    >>> report = embedding_health([[3.0, 4.0], [3.0, 4.0]])  # collapsed
    >>> round(report.effective_rank, 6), report.uniformity, report.dead_dimensions
    (1.0, 0.0, 1.0)

    References:
        Wang and Isola 2020 (arXiv:2005.10242), section 4; Garrido et al. 2023 (arXiv:2210.02885),
        section 3.
    """
    check_positive_integer("max_pairs_from", max_pairs_from, min_=2)
    with embedding(model) as embed:
        rows = check_features(embed(features))
        others = None if views is None else check_features(embed(views), "views")
    if len(rows) < 2:
        raise ValueError("There must be at least 2 features. Received: 1. Pass more images.")
    if others is not None:
        _check_views(rows, others)
    norms = np.linalg.norm(rows, axis=1)
    used = min(len(rows), max_pairs_from)
    return HealthReport(
        effective_rank=_effective_rank(rows),
        uniformity=_uniformity(rows[np.linspace(0, len(rows) - 1, used, dtype=int)]),
        alignment=None if others is None else _alignment(rows, others),
        dead_dimensions=_dead_dimensions(rows),
        norm_spread=float(norms.std() / max(norms.mean(), np.finfo("float32").tiny)),
        num_images=rows.shape[0],
        num_dimensions=rows.shape[1],
        protocol=(
            f"Embedding health of {len(rows)} features: RankMe of all, uniformity (t=2) of all "
            f"pairs of {used}, alignment (alpha=2)"
        ),
    )


def _check_views(rows, others):
    check_same_dimension(rows, others, ("features", "views"))
    if len(rows) != len(others):
        raise ValueError(
            "`views` must be of the same images as `features`, in the same order. Received: "
            f"{len(others)} rows of views and {len(rows)} of features."
        )


def _unit(rows):
    rows = rows.astype("float64")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _effective_rank(rows):
    """Return the exponential of the entropy of the singular values, from the D x D products."""
    scale = max(float(np.abs(rows).max()), np.finfo("float32").tiny)
    products = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), CHUNK_SIZE):
        chunk = rows[start : start + CHUNK_SIZE].astype("float64") / scale
        products += chunk.T @ chunk
    squares = np.linalg.eigvalsh(products)
    noise = squares[-1] * rows.shape[1] * np.finfo("float64").eps
    values = np.sqrt(squares[squares > noise])
    if not len(values):
        return 1.0  # all features are zero
    fractions = values / values.sum()
    return float(np.exp(-np.sum(fractions * np.log(fractions))))


def _uniformity(rows):
    unit, count, total = _unit(rows), len(rows), 0.0
    for start in range(0, count, CHUNK_SIZE):
        similarity = unit[start : start + CHUNK_SIZE] @ unit.T  # |f - f'|^2 = 2 - 2 f f'
        diagonal = np.arange(len(similarity))
        similarity[diagonal, start + diagonal] = -np.inf
        total += np.exp(np.minimum(4 * (similarity - 1), 0)).sum()
    return math.log(total / (count * (count - 1)))


def _alignment(rows, others):
    return float(np.mean(np.sum((_unit(rows) - _unit(others)) ** 2, axis=1)))


def _dead_dimensions(rows):
    deviations = rows.std(axis=0, dtype="float64")
    return float(np.mean(deviations <= DEAD * np.sqrt(np.mean(rows**2, dtype="float64"))))
