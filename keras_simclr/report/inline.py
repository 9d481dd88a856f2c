"""Figures and images as text that stands in an HTML page."""

import base64
import functools
import io
import math
from typing import Any

import numpy as np

from keras_simclr.plotting.style import displayable

THUMBNAIL = 48  # pixels of the longer side


def inline_svg(figure: Any) -> str:
    """Return a figure of lines as the source of an HTML image."""
    return _source("svg+xml", lambda file: figure.savefig(file, format="svg"))


def inline_panels(figure: Any) -> list[str]:
    """Return each panel of a figure as a separate image source, for pages of any width."""
    figure.canvas.draw()  # lays the panels out
    figure.set_layout_engine("none")  # keeps them there
    inches = figure.dpi_scale_trans.inverted()
    sources = []
    for axes in figure.axes:
        for other in figure.axes:
            other.set_visible(other is axes)
        box = axes.get_tightbbox().transformed(inches).padded(0.05)
        options = {"format": "svg", "bbox_inches": box}
        sources.append(_source("svg+xml", functools.partial(figure.savefig, **options)))
    return sources


def inline_png(figure: Any) -> str:
    """Return a figure of images as the source of an HTML image."""
    return _source("png", lambda file: figure.savefig(file, format="png", dpi=120))


class Thumbnails:
    """Small copies of all images in one, of which a page shows a part at a time.

    Args:
        images: Images of shape (N, height, width, channels).
        value_range: (lower, upper) of the images.
    """

    def __init__(self, images: np.ndarray, value_range: tuple[float, float]) -> None:
        from PIL import Image

        height, width = images.shape[1:3]
        scale = THUMBNAIL / max(height, width)
        self.width, self.height = (max(1, round(scale * side)) for side in (width, height))
        self.columns = math.ceil(math.sqrt(len(images)))
        rows = math.ceil(len(images) / self.columns)
        sheet = Image.new("RGB", (self.columns * self.width, rows * self.height))
        for number, image in enumerate(images):
            pixels = np.rint(255 * displayable(image, value_range)).astype("uint8")
            small = Image.fromarray(pixels).convert("RGB").resize((self.width, self.height))
            sheet.paste(small, self._corner(number))
        self.source = _source("jpeg", lambda file: sheet.save(file, "JPEG", quality=85))

    def _corner(self, number):
        row, column = divmod(number, self.columns)
        return column * self.width, row * self.height

    def position(self, number: int) -> str:
        """Return the CSS `background-position` of an image."""
        x, y = self._corner(number)
        return f"-{x}px -{y}px"


def _source(kind, write):
    file = io.BytesIO()
    write(file)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
