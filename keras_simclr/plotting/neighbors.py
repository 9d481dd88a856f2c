"""Images beside their nearest neighbors."""

from typing import Any

import numpy as np
from keras import ops

from keras_simclr.plotting.style import show_image, styled, subplots


@styled
def plot_neighbors(
    queries: Any,
    images: Any,
    indices: Any,
    similarities: Any = None,
    *,
    value_range: tuple[float, float] = (0, 255),
) -> Any:
    """Plot each query beside its nearest neighbors, the most similar first.

    Args:
        queries: Images of shape (Q, height, width, channels).
        images: The images among which the neighbors were searched: (M, height, width, channels).
        indices: Rows of the neighbors in `images`, of shape (Q, k).
        similarities: Cosine similarities (Q, k), written above the images. Defaults to None.
        value_range: (lower, upper) of the images. Defaults to (0, 255).

    Returns:
        A `matplotlib.figure.Figure` with Q rows and 1 + k columns.

    Raises:
        ValueError: If the shapes do not match.

    Example:
    >>> images = np.zeros((4, 8, 8, 3), "uint8")
    >>> figure = plot_neighbors(images[:2], images, [[1, 2, 3], [0, 2, 3]])
    >>> len(figure.axes)
    8
    """
    indices = ops.convert_to_numpy(indices)
    if indices.ndim != 2 or len(indices) != len(queries) or indices.size == 0:
        raise ValueError(
            "`indices` must have shape (Q, k), one row per query. Received: "
            f"shape={indices.shape} and {len(queries)} queries."
        )
    if similarities is not None:
        similarities = ops.convert_to_numpy(similarities)
        if similarities.shape != indices.shape:
            raise ValueError(
                "`similarities` and `indices` must have the same shape. Received: "
                f"{similarities.shape} and {indices.shape}."
            )
    rows, columns = indices.shape
    figure, grid = subplots(rows, 1 + columns, 1.2 * (1 + columns), 1.35 * rows + 0.2)
    grid[0, 0].set_title("query", fontsize=9)
    for row, panels in enumerate(grid):
        show_image(panels[0], np.asarray(queries[row]), value_range)
        for column, axes in enumerate(panels[1:]):
            show_image(axes, np.asarray(images[indices[row, column]]), value_range)
            if similarities is not None:
                axes.set_title(f"{similarities[row, column]:.2f}", fontsize=9)
    return figure
