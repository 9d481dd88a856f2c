"""PNGs of 16 bits with colors or transparency, of which Pillow reads 8 bits."""

import importlib.util
from typing import Any

import numpy as np

START = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH, COLOR_TYPE = 24, 25  # places of the bytes
GRAY, PALETTE = 0, 3  # color types that Pillow reads in full
WHITE = 65535


def is_deep_png(data: bytes) -> bool:
    """Return whether a file is a PNG that Pillow would cut to 8 bits."""
    is_deep = data.startswith(START) and len(data) > COLOR_TYPE and data[BIT_DEPTH] == 16
    return is_deep and data[COLOR_TYPE] not in (GRAY, PALETTE)


def has_png_decoder() -> bool:
    """Return whether imagecodecs is installed, which reads all bits."""
    return importlib.util.find_spec("imagecodecs") is not None


def read_deep_png(data: bytes, orientation: int = 1) -> Any:
    """Return such a PNG as an array (height, width, 1 or 3) of uint16, on white and upright."""
    import imagecodecs

    array = imagecodecs.png_decode(data)
    if array.shape[-1] in (2, 4):
        colors, alpha = array[..., :-1], array[..., -1:] / WHITE
        array = np.rint(colors * alpha + WHITE * (1 - alpha)).astype("uint16")
    return _upright(array, orientation)


def _upright(array, orientation):
    """Return an array turned and mirrored by a value of EXIF."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array[::-1] if orientation in (3, 4, 7, 8) else array
