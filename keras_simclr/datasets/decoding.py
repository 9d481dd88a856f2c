"""Image files of many kinds -> arrays."""

import dataclasses
import io
import math
import os
import re
from typing import Any

import numpy as np

from keras_simclr.datasets.deep_png import has_png_decoder, is_deep_png, read_deep_png
from keras_simclr.datasets.jpeg_header import jpeg_header

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF")  # names in Pillow
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GRAY_MODES = ("1", "L", "LA", "La")  # Pillow's names of kinds of pixels
ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
EXTRA_SAMPLES, SAMPLES, BITS, PHOTOMETRIC, ORIENTATION = 338, 277, 258, 262, 274  # tags of TIFF
DESCRIPTION = 270
CHANNEL_PAGES = re.compile(r'^channels=(?!1$)|SizeC="(?!1")', re.MULTILINE)  # ImageJ, OME
CMYK, ALPHA = 5, (1, 2)  # values of PHOTOMETRIC and EXTRA_SAMPLES
MAX_BANDS = 64  # more images in a TIFF are taken for a stack, of which the first is read
JPEG_SCALES = (8, 4, 2, 1)  # by which a JPEG can be decoded to a smaller size
ENOUGH = 0.9  # of the result: 500 x 375 pixels are read as 125 x 94 for 96 x 96
FIRST_SIDEWAYS = 5  # of the orientations in EXIF, that swap height and width
WHITES = {"bool": 1, "uint8": 255}  # of arrays whose dtype says it


class UnreadableImageError(ValueError):
    """Why a file cannot be read as an image; the folder lists it beside the file."""


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """What files are decoded to: arrays of shape (height, width, channels) in 0..255.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        channels: 1, 3, or the number of bands of a TIFF.
        dtype: "uint8" or "float32".
        white: Value that becomes 255, in images of more than 8 bits.
        crop: Whether to crop to the aspect ratio of the result rather than to distort.
    """

    height: int
    width: int
    channels: int
    dtype: str = "uint8"
    white: float = 65535.0
    crop: bool = False


def read_image(path: str | os.PathLike, image_format: ImageFormat) -> np.ndarray:
    """Decode an image file to an array of an `ImageFormat`.

    Transparent pixels are shown on white, and the orientation in EXIF is applied.

    Args:
        path: Path of the file.
        image_format: The `ImageFormat`.

    Raises:
        Exception: If the file is no image, or damaged; of any kind, as Pillow's decoders raise.
    """
    data = read_file(path)
    image = _plain_jpeg(data, image_format) or _decode(data, image_format)
    if isinstance(image, np.ndarray):
        return _from_array(image, image_format)
    return _from_pillow(image, image_format)


def read_file(path: str | os.PathLike) -> bytes:
    """Return the contents of a file that is not empty."""
    with open(path, "rb", buffering=0) as file:
        data = file.read()
    if not data:
        raise UnreadableImageError("the file is empty")
    return data


def open_image(data: bytes) -> Any:
    """Open the contents of an image file.

    Returns:
        A `PIL.Image.Image` that is not decoded yet, or an array of shape (height, width, bands) if
        there are more than 8 bits or 3 bands.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image: Any = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data.startswith(TIFF_STARTS):
            return _with_valid_values(_read_tiff(data))
        raise UnreadableImageError("it is not a JPEG, PNG, WebP, TIFF, BMP or GIF image") from None
    if image.format == "TIFF" and _needs_tifffile(image):
        return _with_valid_values(_read_tiff(data))
    if is_deep_png(data) and has_png_decoder():
        return read_deep_png(data, _orientation(image))
    if image.mode[0] in "IF":  # one channel of 16 or 32 bits
        return _with_valid_values(np.asarray(_upright(image))[..., None])
    return image


def _with_valid_values(array):
    if not np.isfinite(array).all():
        raise UnreadableImageError("it has values that are NaN or infinite")
    if array.min() < 0:
        raise UnreadableImageError(
            f"it has values below 0, down to {array.min():g}; shift and scale them first"
        )
    return array


def upright_size(image: Any) -> tuple[int, int]:
    """Return (height, width) of an image from `open_image` in the orientation of its EXIF."""
    if _orientation(image) >= FIRST_SIDEWAYS:
        return image.width, image.height
    return image.height, image.width


def _decode(data, image_format):
    """Return an image as an array, or as a Pillow image in gray or RGB.

    A JPEG is decoded in the smallest size that is enough for that of the result.
    """
    image = open_image(data)
    if isinstance(image, np.ndarray):
        return image
    side = _smallest_side(image_format)
    image.draft(None, (side, side))
    return _without_alpha(_upright(image))


def _smallest_side(image_format):
    """Return the pixels per side that are enough to be resized, a little up if need be."""
    return math.ceil(ENOUGH * max(image_format.height, image_format.width))


def _orientation(image):
    return image.getexif().get(ORIENTATION, 1) if _has_exif(image) else 1


def _has_exif(image):
    keys = image.info.keys()
    return image.format == "TIFF" or not keys.isdisjoint({"exif", "xmp", "XML:com.adobe.xmp"})


def _upright(image):
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if _has_exif(image) else image


def _without_alpha(image):
    """Return an image of 8 bits as gray or RGB, on white where it is transparent."""
    from PIL import Image

    mode = "L" if image.mode in GRAY_MODES else "RGB"
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode == mode:
        image.load()
        return image
    return image.convert(mode)


def _plain_jpeg(data, image_format):
    """Return a JPEG in gray or RGB whose header says nothing of orientation, or None.

    Pillow takes longer to look at the whole header of a small file than to decode it.
    """
    header = jpeg_header(data)
    if header is None:
        return None
    from PIL import Image

    mode, (width, height) = header
    if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
        return None
    side = _smallest_side(image_format)
    scale = next(s for s in JPEG_SCALES if min(width, height) // side >= s or s == 1)
    size = (-(-width // scale), -(-height // scale))
    return Image.frombytes(mode, size, data, "jpeg", mode, "", scale, 0)


def _needs_tifffile(image):
    """Return whether a TIFF has bands or pages that Pillow drops, or colors of more than 8 bits."""
    tags = image.tag_v2
    if CHANNEL_PAGES.search(str(tags.get(DESCRIPTION, ""))):
        return True
    samples = tags.get(SAMPLES, 1)
    colors = samples - any(extra in ALPHA for extra in tags.get(EXTRA_SAMPLES, ()))
    if colors not in (1, 3):
        return tags.get(PHOTOMETRIC) != CMYK
    return colors == 3 and max(tags.get(BITS, (1,))) > 8


def _read_tiff(data):
    """Return the bands of a TIFF as an array of shape (height, width, bands)."""
    try:
        import tifffile
    except ImportError:
        raise UnreadableImageError(
            'a TIFF of this kind needs tifffile: `pip install "keras-simclr[tiff]"`'
        ) from None
    from PIL import Image

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        series = file.series[0]
        if np.prod(series.shape) > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
            raise UnreadableImageError(f"it has too many pixels: {series.shape}")
        array, axes = series.asarray(), series.axes
    return _bands_last(array, axes)


def _bands_last(array, axes):
    kept = [axis for axis, size in zip(axes, array.shape, strict=True) if size > 1 or axis in "YX"]
    array = array.reshape([n for a, n in zip(axes, array.shape, strict=True) if a in "YX" or n > 1])
    bands = next((a for a in "SC" if a in kept), None)
    for axis in [axis for axis in kept if axis not in "YX" and axis != bands]:
        place = kept.index(axis)
        if bands is None and axis not in "ZT" and array.shape[place] <= MAX_BANDS:
            bands = axis
            continue
        array = array.take(0, place)
        kept.remove(axis)
    if bands is None:
        return array[..., None]
    return np.moveaxis(array, kept.index(bands), -1)


def _from_pillow(image, image_format):
    if image_format.channels not in (1, 3):
        count = len(image.getbands())
        raise UnreadableImageError(f"it has {count} channels instead of {image_format.channels}")
    mode = "L" if image_format.channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    array = np.asarray(_resize(image, image_format))
    return array.reshape(image_format.height, image_format.width, image_format.channels)


def _from_array(array, image_format):
    from PIL import Image

    white = WHITES.get(array.dtype.name, image_format.white)
    array = array.astype("float32") * np.float32(255 / white)
    array = _with_channels(np.clip(array, 0, 255), image_format.channels)
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(array, -1, 0)]
    array = np.stack([np.asarray(_resize(band, image_format)) for band in bands], axis=-1)
    return np.rint(array) if image_format.dtype == "uint8" else array


def _with_channels(array, channels):
    found = array.shape[-1]
    if found == channels:
        return array
    if found == 1 and channels == 3:
        return np.repeat(array, 3, axis=-1)
    if found == 3 and channels == 1:
        return array @ np.array([[0.299], [0.587], [0.114]], "float32")
    raise UnreadableImageError(f"it has {found} channels instead of {channels}")


def _resize(image, image_format):
    size = (image_format.width, image_format.height)
    if image.size == size:
        return image
    from PIL import Image

    box = _centered_box(image.size, size) if image_format.crop else (0, 0, *image.size)
    return image.resize(size, Image.Resampling.BILINEAR, box)


def _centered_box(size, target):
    """Return the largest box (left, upper, right, lower) with the aspect ratio of `target`."""
    scale = min(size[0] / target[0], size[1] / target[1])
    margins = [(side - scale * wanted) / 2 for side, wanted in zip(size, target, strict=True)]
    return (*margins, *(side - margin for side, margin in zip(size, margins, strict=True)))
