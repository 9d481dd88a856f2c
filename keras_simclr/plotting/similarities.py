"""Similarities of positives and negatives."""

from typing import Any

import numpy as np
from keras import ops

from keras_simclr.plotting.style import styled, subplots

BINS = np.linspace(-1, 1, 81)


@styled
def plot_similarities(z_a: Any, z_b: Any) -> Any:
    """Plot histograms of the cosine similarities of positives and of negatives.

    The two overlap little when training works; in a collapsed model both stand at 1.

    Args:
        z_a: Embeddings (or features) of the first view of N images, of shape (N, D).
        z_b: Those of the second view, of shape (N, D).

    Returns:
        A `matplotlib.figure.Figure` with both densities and their medians.

    Raises:
        ValueError: If the shapes differ or there are fewer than 2 images.

    Example:
    >>> figure = plot_similarities(np.eye(3), np.eye(3))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['positives (median 1.00)', 'negatives (median 0.00)']
    """
    z_a, z_b = (ops.convert_to_numpy(z).astype("float32") for z in (z_a, z_b))
    if z_a.ndim != 2 or z_a.shape != z_b.shape or len(z_a) < 2:
        raise ValueError(
            "`z_a` and `z_b` must have the same shape (N, D), with at least 2 images. Received: "
            f"{z_a.shape} and {z_b.shape}."
        )
    z_a, z_b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) for z in (z_a, z_b))
    similarities = z_a @ z_b.T
    positive = np.eye(len(z_a), dtype=bool)
    figure, grid = subplots(1, 1, 5.5, 3.4)
    axes = grid[0, 0]
    for name, values in (
        ("positives", similarities[positive]),
        ("negatives", similarities[~positive]),
    ):
        label = f"{name} (median {np.median(values):.2f})"
        values = values.clip(-1, 1)
        axes.hist(values, BINS, density=True, histtype="stepfilled", alpha=0.8, label=label)
    axes.set(xlabel="cosine similarity", ylabel="density", xlim=(-1, 1), yticks=[])
    axes.legend(loc="upper left")
    return figure
