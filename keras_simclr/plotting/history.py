"""How a run went."""

import numpy as np

TITLES = {"loss": "NT-Xent loss", "contrastive_accuracy": "contrastive accuracy"}


def plot_history(history):
    """Draw loss and contrastive accuracy over the epochs, with validation where there is one.

    A dashed line marks the loss of a collapsed model, ln(2N-1), if `relative_loss` tells it.

    Args:
        history: What `fit` returns, or its `history`: a dict of lists, one value an epoch.

    Returns:
        A `matplotlib.figure.Figure`: a panel for the loss, and one for the contrastive accuracy
        if it was logged.

    Raises:
        ValueError: If there is no loss in it.

    Example:
    >>> figure = plot_history({"loss": [3.0, 2.0], "contrastive_accuracy": [0.2, 0.6]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['NT-Xent loss', 'contrastive accuracy']
    """
    values = getattr(history, "history", history)
    if not len(values.get("loss", [])):
        raise ValueError(
            f"There is no loss to draw. Received: a history of {sorted(values)}. Run `fit` for an "
            "epoch at least."
        )
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = 1 + np.array(getattr(history, "epoch", range(len(values["loss"]))))
    names = [name for name in TITLES if name in values]
    figure = Figure(figsize=(4.5 * len(names), 3.4), layout="constrained")
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        _draw(axes, epochs, values, name)
        axes.set(xlabel="epoch", ylabel=TITLES[name])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.spines[["top", "right"]].set_visible(False)
    if "relative_loss" in values:
        collapsed = values["loss"][-1] / values["relative_loss"][-1]
        label = f"collapsed model ({collapsed:.2f})"
        figure.axes[0].axhline(collapsed, color="gray", linestyle="--", label=label)
    if len(names) > 1:
        figure.axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
        figure.axes[1].set_ylim(-0.02, 1.02)
    figure.axes[0].legend(frameon=False)
    return figure


def _draw(axes, epochs, values, name):
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, values[name], marker=marker, label="training")
    validation = values.get(f"val_{name}", [])
    if len(validation):
        every = len(epochs) // len(validation)  # `validation_freq` of `fit`
        at = epochs[every - 1 :: every][: len(validation)]
        axes.plot(at, validation, marker="o", markersize=3, label="validation")
