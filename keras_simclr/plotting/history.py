"""Loss and accuracy over the epochs."""

import csv
import os
from typing import Any

import numpy as np

from keras_simclr.plotting.style import GRAY, styled, subplots

MARGIN = 0.05  # of the accuracy axis, as Matplotlib's own


@styled
def plot_history(history: Any) -> Any:
    """Plot loss and accuracy over the epochs, for training and validation.

    For the history of a `SimCLR`, a dashed line marks the loss of a collapsed model, ln(2N-1), and
    values logged by `KNNMonitor` and `EmbeddingHealth` get their own panels. The history of a
    classifier can be plotted as well.

    Args:
        history: What `fit` returns, or its `history`: a dict of lists with one value per epoch, or
            per k epochs, as with `validation_freq=k`, where k must divide the number of epochs.

    Returns:
        A `matplotlib.figure.Figure` with a panel for the loss, and one each for
        `contrastive_accuracy` or `accuracy`, `knn_accuracy`, `effective_rank` and
        `gradient_norm`, if logged.

    Raises:
        ValueError: If the history has no loss.

    Example:
    >>> figure = plot_history({"loss": [3.0, 2.0], "contrastive_accuracy": [0.2, 0.6]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['NT-Xent loss', 'contrastive accuracy']
    """
    values = getattr(history, "history", history)
    if not len(values.get("loss", [])):
        raise ValueError(
            f"There is no loss to plot. Received: a history of {sorted(values)}. Run `fit` for at "
            "least one epoch."
        )
    from matplotlib.ticker import PercentFormatter

    epochs = 1 + np.array(getattr(history, "epoch", range(len(values["loss"]))))
    titles = _titles(values)
    figure, (panels,) = subplots(1, len(titles), 4.5 * len(titles), 3.4)
    for (name, title), axes in zip(titles.items(), panels, strict=True):
        _plot(axes, epochs, values, name)
        axes.set(xlabel="epoch", ylabel=title)
        axes.set_xticks(_ticks(int(epochs[0]), int(epochs[-1])))
        if title.endswith("accuracy"):
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            lower, upper = axes.get_ylim()
            axes.set_ylim(max(lower, -MARGIN * upper), min(upper, 1 + MARGIN * (1 - lower)))
    relative_loss = values.get("relative_loss", [0.0])[0]
    if relative_loss:
        collapsed = values["loss"][0] / relative_loss
        label = f"collapsed model ({collapsed:.2f})"
        panels[0].axhline(collapsed, color=GRAY, linestyle="--", label=label)
    panels[0].legend()
    return figure


def load_history(path: str | os.PathLike) -> dict[str, list[float]]:
    r"""Load a history from a file of `keras.callbacks.CSVLogger`.

    Args:
        path: Path of the CSV file.

    Returns:
        {name: values}, one value per epoch. Columns with anything but numbers are left out.

    Raises:
        OSError: If the file cannot be read.

    Example:
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "history.csv")
    >>> with open(path, "w") as file:
    ...     lines = file.write("epoch,loss,val_loss\n0,3.5,NA\n1,3.0,NA\n")
    >>> load_history(path)
    {'loss': [3.5, 3.0]}
    """
    history = {}
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for name in rows[0] if rows else ():
        try:
            history[name] = [float(row[name]) for row in rows]
        except (TypeError, ValueError):  # a word, or a row that was cut off
            continue
    history.pop("epoch", None)
    return history


def _titles(values):
    """Return the names of the logged values to plot, and the title of each."""
    if "contrastive_accuracy" in values or "relative_loss" in values:
        titles = {"loss": "NT-Xent loss", "contrastive_accuracy": "contrastive accuracy"}
    elif "accuracy" in values:
        titles = {"loss": "cross-entropy loss", "accuracy": "accuracy"}
    else:
        titles = {"loss": "loss"}
    titles |= {"knn_accuracy": "kNN accuracy", "effective_rank": "effective rank"}
    titles["gradient_norm"] = "gradient norm"
    return {name: title for name, title in titles.items() if name in values}


def _plot(axes, epochs, values, name):
    for logged, label in ((name, "training"), (f"val_{name}", "validation")):
        points = values.get(logged, [])
        if len(points):
            every = len(epochs) // len(points)  # `validation_freq` of `fit`, `every` of monitors
            at = epochs[every - 1 :: every][: len(points)]
            marker = "o" if logged != name or every > 1 or len(epochs) == 1 else None
            axes.plot(at, points, marker=marker, markersize=3, label=label)


def _ticks(first, last):
    """Return the first epoch and about six round numbers up to the last."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=True).tick_values(first, last)
    half = (ticks[1] - ticks[0]) / 2
    return [first, *(int(tick) for tick in ticks if first + half <= tick <= last)]
