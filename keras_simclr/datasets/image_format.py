"""The size, channels and dtype that suit the images of a folder."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from keras_simclr.datasets.decoding import (
    GRAY_MODES,
    ImageFormat,
    open_image,
    read_file,
    upright_size,
)
from keras_simclr.datasets.deep_png import has_png_decoder, is_deep_png

SAMPLE_SIZE = 64  # files
MAX_SIZE = 96  # pixels, of the size that is chosen
MIN_BITS, MAX_BITS = 8, 32


@dataclasses.dataclass(frozen=True)
class Sampled:
    """What is known of one image: height, width, channels, and its white if it is above 8 bits."""

    height: int
    width: int
    channels: int
    white: float | None


def sample_images(paths: Any) -> tuple[list[Sampled], dict[int, str]]:
    """Look at files at equal distances in a list.

    Args:
        paths: Paths of the files.

    Returns:
        What was found in those that could be opened, and {index: reason} for the others.
    """
    rows = np.unique(np.linspace(0, len(paths) - 1, min(SAMPLE_SIZE, len(paths)), dtype=int))
    sampled, broken, has_deep_png = [], {}, False
    for row in rows.tolist():
        try:
            data = read_file(paths[row])
            sampled.append(_sample(open_image(data)))
            has_deep_png = has_deep_png or is_deep_png(data)
        except Exception as error:  # of any kind, as Pillow's decoders raise
            broken[row] = reason(error)
    if has_deep_png and not has_png_decoder():
        warnings.warn(
            "PNGs of 16 bits with colors or transparency are read with 8 bits; the lower bits are "
            'lost. To read all of them: pip install "keras-simclr[tiff]".',
            stacklevel=3,
        )
    return sampled, broken


def reason(error: Exception) -> str:
    """Return in one line why a file could not be decoded."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _sample(image):
    if isinstance(image, np.ndarray):
        height, width, channels = image.shape
        eight_bits = image.dtype in ("uint8", "bool")
        return Sampled(height, width, channels, None if eight_bits else float(image.max()))
    return Sampled(*upright_size(image), 1 if image.mode in GRAY_MODES else 3, None)


def choose_format(
    sampled: list[Sampled],
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    max_value: float | None = None,
    crop: bool = False,
) -> ImageFormat:
    """Choose what the images of a folder are decoded to, by what a sample of them is.

    Args:
        sampled: From `sample_images`, at least one.
        image_size: (height, width). Defaults to None: that of the images if they all have the same
            and neither side exceeds 96 pixels, otherwise a square of the median of their shorter
            sides, at most 96.
        channels: Number of channels. Defaults to None: the largest of the images.
        max_value: White in images of more than 8 bits. Defaults to None: 1 if no value exceeds 1,
            otherwise the smallest 2^n - 1 from 255 that none exceeds.
        crop: Whether to crop to the aspect ratio of the result.

    Example:
    >>> choose_format([Sampled(480, 640, 3, None), Sampled(640, 480, 1, None)])
    ImageFormat(height=96, width=96, channels=3, dtype='uint8', white=65535.0, crop=False)
    """
    height, width = image_size or _choose_size(sampled)
    whites = [image.white for image in sampled if image.white is not None]
    return ImageFormat(
        height=height,
        width=width,
        channels=channels or max(image.channels for image in sampled),
        dtype="float32" if whites else "uint8",
        white=float(max_value or (_choose_white(max(whites)) if whites else 65535)),
        crop=crop,
    )


def _choose_size(sampled):
    sizes = [(image.height, image.width) for image in sampled]
    if len(set(sizes)) == 1 and max(sizes[0]) <= MAX_SIZE:
        return sizes[0]
    side = min(MAX_SIZE, int(np.median([min(size) for size in sizes])))
    return side, side


def _choose_white(highest):
    if highest <= 1:
        return 1
    bits = next((n for n in range(MIN_BITS, MAX_BITS) if highest < 2**n), MAX_BITS)
    return 2**bits - 1
