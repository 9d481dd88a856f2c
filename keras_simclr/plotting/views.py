"""Images beside their random views."""

from typing import Any

from keras import ops

from keras_simclr.plotting.style import show_image, styled, subplots
from keras_simclr.validation import check_positive_integer


@styled
def plot_views(augmenter: Any, images: Any, views: int = 4) -> Any:
    """Plot images and random views of them side by side, one row per image.

    With three or more channels, the first three are shown as red, green and blue; with fewer, the
    first is shown in gray.

    Args:
        augmenter: Any Keras layer, images -> images; called with `training=True`. The first and
            the second augmenter of a `keras_simclr.layers.TwoAugmenters` take turns. Values are
            shown from the lower to the upper end of its `value_range`, (0, 255) if it has none.
        images: Images of shape (N, height, width, channels).
        views: Number of views of each image. Defaults to 4.

    Returns:
        A `matplotlib.figure.Figure` with N rows and 1 + `views` columns.

    Raises:
        ValueError: If `images` is empty or not of rank 4, or `views` is not positive.

    Example:
    >>> import keras, numpy as np
    >>> images = np.zeros((3, 8, 8, 3), "uint8")
    >>> figure = plot_views(keras.layers.RandomBrightness(0.2), images, views=2)
    >>> len(figure.axes)
    9
    """
    images = ops.convert_to_numpy(images)
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "`images` must be images of shape (N, height, width, channels). Received: "
            f"shape={images.shape}."
        )
    check_positive_integer("views", views)
    augmenters = _augmenters(augmenter)
    columns = {"original": images, **_views(augmenters, images.astype("float32"), views)}
    value_range = getattr(augmenters[0], "value_range", (0, 255))
    width, height = 1.3 * len(columns), 1.3 * len(images) + 0.3
    figure, grid = subplots(len(images), len(columns), width, height)
    for (title, images), panels in zip(columns.items(), grid.T, strict=True):
        panels[0].set_title(title, fontsize=8 if len(augmenters) > 1 else 10)
        for axes, image in zip(panels, images, strict=True):
            show_image(axes, image, value_range)
    return figure


def _views(augmenters, images, views):
    """Return {title: images} of the views, for which the augmenters take turns."""
    names = ("\n(first augmenter)", "\n(second augmenter)") if len(augmenters) == 2 else ("",)
    result = {}
    for view in range(views):
        turn = view % len(augmenters)
        drawn = augmenters[turn](images, training=True)
        result[f"view {view + 1}{names[turn]}"] = ops.convert_to_numpy(drawn)
    return result


def _augmenters(augmenter):
    """Return both layers of a `TwoAugmenters`, or the only one."""
    if hasattr(augmenter, "first") and hasattr(augmenter, "second"):
        return augmenter.first, augmenter.second
    return (augmenter,)
