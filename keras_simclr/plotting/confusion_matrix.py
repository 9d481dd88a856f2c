"""Which classes are taken for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_simclr.plotting.style import styled, subplots

MAX_NUMBERED = 20  # classes, beyond which cells and ticks are too small for text


@styled
def plot_confusion_matrix(
    labels: Any, predictions: Any, class_names: Sequence[str] | None = None
) -> Any:
    """Plot how often images of each class are predicted as each class, in percent of the true one.

    Args:
        labels: True classes, of shape (N,).
        predictions: Predicted classes, of shape (N,), such as
            `classifier.predict(images).argmax(axis=1)`.
        class_names: Names of the classes 0, 1, .... Defaults to the labels themselves.

    Returns:
        A `matplotlib.figure.Figure`; its title is the accuracy.

    Raises:
        ValueError: If there is nothing to compare or the shapes differ.

    Example:
    >>> figure = plot_confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"])
    >>> figure.axes[0].get_title()
    'accuracy 75.0%'
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape or labels.size == 0:
        raise ValueError(
            "`labels` and `predictions` must have the same shape (N,). Received: "
            f"{labels.shape} and {predictions.shape}. Use `.argmax(axis=1)` of probabilities."
        )
    from sklearn.metrics import confusion_matrix

    classes = np.unique(np.concatenate([labels, predictions]))
    names = [str(c) if class_names is None else class_names[int(c)] for c in classes]
    counts = confusion_matrix(labels, predictions, labels=classes)
    percentages = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.5 + 0.35 * len(classes), 9)
    figure, grid = subplots(1, 1, side + 0.6, side)
    axes = grid[0, 0]
    axes.imshow(percentages, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="predicted", ylabel="true", xticks=[], yticks=[])
    axes.set_title(f"accuracy {np.mean(labels == predictions):.1%}")
    if len(classes) <= MAX_NUMBERED:
        axes.set_xticks(range(len(classes)), names, rotation=90)
        axes.set_yticks(range(len(classes)), names)
        for (row, column), value in np.ndenumerate(percentages):
            color = "white" if value > 50 else "black"
            axes.text(
                column, row, f"{value:.0f}", color=color, fontsize=7, ha="center", va="center"
            )
    return figure
