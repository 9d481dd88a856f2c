"""Embeddings as a map in two dimensions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_simclr.plotting.style import GRAY, displayable, styled, subplots

METHODS = ("pca", "tsne", "umap")
PCA_DIMENSIONS = 50  # before t-SNE, as scikit-learn advises
SAME = 1e-6  # difference of embeddings that only rounding makes
THUMBNAIL_INCHES = 0.3


def project_embeddings(features: Any, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """Project embeddings to two dimensions; only their directions count.

    Args:
        features: Array of shape (N, D).
        method: "pca" (linear, keeps large distances), "tsne" or "umap" (neighborhoods; the
            latter needs the package umap-learn). Defaults to "tsne".
        seed: Seed of t-SNE and UMAP. Defaults to 0.

    Returns:
        Array of shape (N, 2), float32.

    Raises:
        ValueError: If there are fewer than 3 embeddings, or one is not finite, or the method is
            unknown.
        ImportError: If umap-learn is missing.

    Example:
    >>> project_embeddings(np.eye(5), method="pca").shape
    (5, 2)

    References:
        van der Maaten and Hinton 2008 (t-SNE); arXiv:1802.03426 (UMAP).
    """
    features = ops.convert_to_numpy(features).astype("float32")
    if features.ndim != 2 or len(features) < 3 or not np.isfinite(features).all():
        raise ValueError(
            "`features` must be at least 3 finite rows, of shape (N, D). Received: "
            f"shape={features.shape}. Use the output of `model.predict(images)`."
        )
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}.")
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    rows = features / np.maximum(norms, 1e-12)
    if np.ptp(rows, axis=0).max() < SAME:  # a collapsed model
        return np.zeros((len(rows), 2), "float32")
    return _PROJECTIONS[method](rows, seed).astype("float32")


def _pca(rows, seed, dimensions=2):
    from sklearn.decomposition import PCA

    dimensions = min(dimensions, *rows.shape)
    projected = PCA(dimensions, random_state=seed).fit_transform(rows)
    return np.pad(projected, ((0, 0), (0, max(2 - dimensions, 0))))


def _tsne(rows, seed):
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return tsne.fit_transform(_pca(rows, seed, PCA_DIMENSIONS))


def _umap(rows, seed):
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            'method="umap" needs the package umap-learn: `pip install umap-learn`.'
        ) from error
    neighbors = min(15, len(rows) - 1)
    return UMAP(n_neighbors=neighbors, random_state=seed, n_jobs=1).fit_transform(rows)


_PROJECTIONS = {"pca": _pca, "tsne": _tsne, "umap": _umap}


@styled
def plot_embeddings(
    features: Any,
    labels: Any = None,
    images: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    value_range: tuple[float, float] = (0, 255),
    method: str = "tsne",
    max_points: int = 2000,
    seed: int = 0,
) -> Any:
    """Plot embeddings in two dimensions, as points colored by label or as thumbnails.

    The name of each class is written at its median, as colors alone cannot distinguish many
    classes.

    Args:
        features: Array of shape (N, D), as returned by `model.predict(images)`.
        labels: Class of each row, of shape (N,). Defaults to None: one color.
        images: Images (N, height, width, channels), shown in place of points. Defaults to None.
        class_names: Names of the classes 0, 1, .... Defaults to the labels themselves.
        value_range: (lower, upper) of the images. Defaults to (0, 255).
        method: "pca", "tsne" or "umap". Defaults to "tsne".
        max_points: Maximum number of points; of more rows a random sample is shown. Defaults to
            2000.
        seed: Seed of the sample and of the projection. Defaults to 0.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the lengths differ, or the features or `method` are invalid.

    Example:
    >>> figure = plot_embeddings(np.eye(5), labels=[0, 0, 1, 1, 1], method="pca")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0', '1']
    """
    features = ops.convert_to_numpy(features)
    labels = None if labels is None else np.asarray(labels)
    check_same_length(features=features, labels=labels, images=images)
    rows = random_rows(len(features), max_points, seed)
    points = project_embeddings(features[rows], method, seed)
    figure, grid = subplots(1, 1, 6, 6)
    axes = grid[0, 0]
    axes.set_axis_off()
    if images is not None:
        _draw_thumbnails(axes, points, [displayable(images[row], value_range) for row in rows])
    if labels is not None:
        _draw_classes(axes, points, labels[rows], class_names, visible=images is None)
    elif images is None:
        axes.scatter(*points.T, s=8, linewidths=0)
    return figure


def check_same_length(**arrays: Any) -> None:
    """Raise a ValueError unless the arrays that are not None are as long as the first one."""
    (first, expected), *others = arrays.items()
    for name, values in others:
        if values is not None and len(values) != len(expected):
            raise ValueError(
                f"`{name}` and `{first}` must have the same length. Received: {len(values)} and "
                f"{len(expected)}."
            )


def random_rows(count: int, max_count: int, seed: int) -> np.ndarray:
    """Return the rows of a random sample of at most `max_count` of `count`, in ascending order."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, min(count, max_count), replace=False))


def _draw_classes(axes, points, labels, class_names, visible):
    from matplotlib.patheffects import withStroke

    for label in np.unique(labels):
        of_class = points[labels == label]
        if visible:
            axes.scatter(*of_class.T, s=8, linewidths=0)
        name = class_names[int(label)] if class_names is not None else str(label)
        axes.text(
            *np.median(of_class, axis=0),
            name,
            color="black",
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _draw_thumbnails(axes, points, images):
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    axes.scatter(*points.T, s=1, color=GRAY)  # sets the limits of the axes
    for point, image in zip(points, images, strict=True):
        zoom = 72 * THUMBNAIL_INCHES / max(image.shape[:2])
        box = OffsetImage(image, zoom=zoom, cmap="gray", norm=None)
        axes.add_artist(AnnotationBbox(box, point, frameon=False, pad=0))
