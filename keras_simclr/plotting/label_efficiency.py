"""Accuracy by number of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_simclr.plotting.style import styled, subplots


@styled
def plot_label_efficiency(results: Mapping[str, Mapping[int, Sequence[float]]]) -> Any:
    """Plot the mean accuracy over the labels per class, with standard errors, for each method.

    Args:
        results: A dict {method: {labels per class: accuracies}}, where the accuracies are a list
            in 0..1 with one value for each draw of the labels.

    Returns:
        A `matplotlib.figure.Figure`; its horizontal axis is logarithmic.

    Raises:
        ValueError: If there is nothing to plot.

    Example:
    >>> results = {"SimCLR": {1: [0.6, 0.7], 10: [0.9, 0.92]}, "pixels": {1: [0.5], 10: [0.8]}}
    >>> figure = plot_label_efficiency(results)
    >>> figure.axes[0].get_xscale()
    'log'
    """
    if not results or not all(results.values()):
        raise ValueError(
            "`results` must contain accuracies: {method: {labels per class: [0.8, 0.9]}}. "
            f"Received: results={results!r}."
        )
    from matplotlib.ticker import NullLocator, PercentFormatter

    figure, grid = subplots(1, 1, 5.5, 4)
    axes = grid[0, 0]
    for method, accuracies in results.items():
        counts = sorted(accuracies)
        means, errors = zip(*(_mean_and_error(accuracies[n]) for n in counts), strict=True)
        axes.errorbar(counts, means, errors, marker="o", markersize=4, capsize=3, label=method)
    axes.set(xscale="log", xlabel="labels per class", ylabel="accuracy")
    counts = sorted(set().union(*results.values()))
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    return figure


def _mean_and_error(values):
    values = np.asarray(values, dtype="float64")
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return values.mean(), error
