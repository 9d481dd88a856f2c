"""What the augmenter makes of pictures."""

import numpy as np
from keras import ops


def plot_views(augmenter, images, views=4):
    """Draw pictures and random views of them side by side, a row a picture.

    Of three channels and more the first three are shown as red, green and blue, of fewer the
    first as grey.

    Args:
        augmenter: Any Keras layer, images -> images; called with `training=True`. Values are
            shown from the low to the high end of its `value_range`, (0, 255) if it has none.
        images: The pictures to draw, of shape (N, height, width, channels).
        views: Views of each picture. Defaults to 4.

    Returns:
        A `matplotlib.figure.Figure` with N rows and 1 + `views` columns.

    Raises:
        ValueError: If `images` is not of rank 4 or empty, or `views` is not positive.

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
            "`images` must be pictures of shape (N, height, width, channels). Received: "
            f"shape={images.shape}."
        )
    if views < 1:
        raise ValueError(f"`views` must be positive. Received: views={views}.")
    from matplotlib.figure import Figure

    batch = images.astype("float32")
    made = [augmenter(batch, training=True) for _ in range(views)]
    columns = [images, *(ops.convert_to_numpy(view) for view in made)]
    value_range = getattr(augmenter, "value_range", (0, 255))
    figure = Figure(figsize=(1.3 * len(columns), 1.3 * len(images) + 0.3), layout="constrained")
    grid = figure.subplots(len(images), len(columns), squeeze=False)
    for column, pictures in enumerate(columns):
        grid[0, column].set_title(f"view {column}" if column else "original", fontsize=10)
        for axes, picture in zip(grid[:, column], pictures, strict=True):
            axes.imshow(_shown(picture, value_range), cmap="gray", vmin=0, vmax=1)
            axes.set_axis_off()
    return figure


def _shown(picture, value_range):
    low, high = value_range
    picture = np.clip((picture.astype("float32") - low) / (high - low), 0, 1)
    return picture[..., :3] if picture.shape[-1] >= 3 else picture[..., 0]
