"""One style for all figures: colorblind-safe, legible on a light and on a dark page."""

import functools
from collections.abc import Callable
from typing import Any

GRAY = "#767676"  # contrast of 4.5 to white and to black
# Okabe and Ito's colors with a contrast of at least 3 to white and to black.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", GRAY)

_STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": GRAY,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": GRAY,
    "axes.prop_cycle": f"cycler('color', {list(COLORS)})",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def styled(plot: Callable) -> Callable:
    """Return a function that plots in the style of this package, whatever Matplotlib's is."""

    @functools.wraps(plot)
    def plot_in_style(*args, **kwargs):
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            return plot(*args, **kwargs)

    return plot_in_style


def subplots(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """Create a figure of a size in inches, and a 2D array of its axes."""
    from keras_simclr.plotting.notebook_figure import NotebookFigure

    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.tick_params(which="both", colors=GRAY)  # ticks are created later, without the style
    return figure, grid


def show_image(axes: Any, image: Any, value_range: tuple[float, float] = (0, 255)) -> None:
    """Show an image: three or more channels as red, green and blue, fewer in gray."""
    axes.imshow(displayable(image, value_range), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()


def displayable(image: Any, value_range: tuple[float, float] = (0, 255)) -> Any:
    """Return an image of shape (H, W, 3) or (H, W), with values in 0..1."""
    lower, upper = value_range
    image = ((image.astype("float32") - lower) / (upper - lower)).clip(0, 1)
    return image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
