"""Checks of images, so that bad input raises an error before any training."""

import numpy as np

CHUNK_SIZE = 1024  # images checked at a time
TOLERANCE = 0.01  # of the value range: how far resized images may overshoot it


def check_images(images, value_range):
    """Raise a ValueError if `images` cannot be trained on.

    Args:
        images: NumPy array. All images are checked, in chunks.
        value_range: (lower, upper) that the model expects.

    Raises:
        ValueError: If the rank is not 4, the channels come first, there are no images, a value is
            NaN or infinite, or the values are clearly in another range.
    """
    shape = tuple(images.shape)
    if images.dtype == object:
        raise ValueError(
            f"Images must be one array of numbers. Received: an object array of shape {shape}, as "
            "NumPy creates from images of different sizes. Resize them to one size, for example "
            "with `keras.layers.Resizing`, and stack them with `np.stack`."
        )
    if len(shape) != 4:
        raise ValueError(
            f"Images must have shape (N, height, width, channels). Received: shape={shape}. "
            + _rank_cure(shape)
        )
    if shape[0] == 0:
        raise ValueError(f"There must be at least one image. Received: shape={shape}.")
    _check_channels_last(shape)
    if images.dtype.kind not in "iuf":
        raise ValueError(f"Images must be integers or floats. Received: dtype={images.dtype}.")
    lowest, highest = _extremes(images, value_range)
    _check_range(lowest, highest, value_range)


def check_channels(shape, channels):
    """Raise a ValueError unless images of shape (N, H, W, C) have the channels of the model."""
    if shape[-1] == channels:
        return
    if (shape[-1], channels) == (1, 3):
        cure = "Repeat the gray channel, for example with `np.repeat(images, 3, axis=-1)`."
    elif (shape[-1], channels) == (4, 3):
        cure = "Drop the alpha channel with `images[..., :3]`."
    else:
        cure = "Convert the images, or create a new model for them."
    raise ValueError(
        f"The model takes images with {channels} channels. Received: images of shape "
        f"{tuple(shape)}. {cure}"
    )


def check_no_views(labels=None):
    """Raise a ValueError if the labels are images."""
    if len(getattr(labels, "shape", ())) == 4:
        raise ValueError(
            "Pass only the images; the model creates the views. Received: labels of "
            f"shape={tuple(labels.shape)}."
        )


def _rank_cure(shape):
    if len(shape) == 3:
        return "Batch the dataset, or add the missing axis with `images[..., None]`."
    if len(shape) == 5:
        return "Pass one array of images; the model creates the views."
    if len(shape) == 2:
        return "Restore the shape of the images with `images.reshape(-1, height, width, channels)`."
    return "Stack images of the same size with `np.stack`."


def _check_channels_last(shape):
    """Raise a ValueError if the shape is very likely (N, channels, height, width).

    The first number is then the smallest, and the other two, the sides, are of similar size.
    """
    channels, height, width = shape[1:]
    smaller, larger = sorted((height, width))
    similar = larger <= 2 * smaller
    first = (channels in (1, 3, 4) and width not in (1, 3, 4)) or (
        similar and 2 * channels <= smaller
    )
    if first and smaller > 4:
        raise ValueError(
            "Images must be channels last: (N, height, width, channels). Received: "
            f"shape={shape}, which looks like channels first. Use "
            "`images.transpose(0, 2, 3, 1)` (in PyTorch: `images.permute(0, 2, 3, 1)`)."
        )


def _extremes(images, value_range):
    """Return the lowest and the highest value.

    If 0..255 is within the value range, the search in uint8 images ends with the first value
    above 1.
    """
    lowest, highest = np.inf, -np.inf
    in_range = images.dtype == "uint8" and value_range[0] <= 0 and value_range[1] >= 255
    for start in range(0, len(images), CHUNK_SIZE):
        chunk = np.asarray(images[start : start + CHUNK_SIZE])
        if chunk.dtype.kind == "f":
            _check_finite(chunk, start)
        lowest, highest = min(lowest, chunk.min()), max(highest, chunk.max())
        if in_range and highest > 1:
            break
    return float(lowest), float(highest)


def _check_finite(chunk, start):
    finite = np.isfinite(chunk)
    if not finite.all():
        bad = start + int(np.argmin(finite.all(axis=(1, 2, 3))))
        raise ValueError(
            f"Images must be finite. Received: NaN or infinity in image {bad}. Fix or remove it."
        )


def _check_range(lowest, highest, value_range):
    lower, upper = value_range
    received = f"Received: values from {lowest:.4g} to {highest:.4g}, value_range={value_range}."
    if (lower, upper) == (0, 255) and lowest >= 0 and highest <= 1 and highest > lowest:
        raise ValueError(
            f"Images have values in [0, 1], but the model expects {value_range}. {received} "
            "Pass `value_range=(0, 1)` to the model, or multiply the images by 255."
        )
    margin = TOLERANCE * (upper - lower)
    standardized = lowest < lower and highest < lower + 2 * margin
    if standardized or highest > upper + margin or lowest < lower - margin:
        raise ValueError(
            f"Images have values outside the range that the model expects. {received} Pass the "
            "`value_range` of your images to the model, or rescale them."
        )
