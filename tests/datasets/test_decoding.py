import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, features

from keras_simclr.datasets.decoding import ImageFormat, UnreadableImageError, read_image

pytestmark = pytest.mark.once

RGB = ImageFormat(height=6, width=8, channels=3)
GRAY = ImageFormat(height=6, width=8, channels=1)
RAMP = np.linspace(0, 255, 48).reshape(6, 8).astype("uint8")
COLORS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def save(tmp_path, image, name, **options):
    path = tmp_path / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.gif"])
def test_gray_images_of_lossless_formats_are_read_exactly(tmp_path, name):
    np.testing.assert_array_equal(read_image(save(tmp_path, RAMP, name), GRAY)[..., 0], RAMP)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_colors_of_lossless_formats_are_read_exactly(tmp_path, name):
    np.testing.assert_array_equal(read_image(save(tmp_path, COLORS, name), RGB), COLORS)


def test_webp_is_read(tmp_path):
    assert features.check("webp")
    path = save(tmp_path, COLORS, "a.webp", lossless=True)
    np.testing.assert_array_equal(read_image(path, RGB), COLORS)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("image", [COLORS, RAMP])
def test_a_small_jpeg_is_what_pillow_decodes(tmp_path, image, options):
    path = save(tmp_path, image, "a.jpg", **options)
    form = RGB if image.ndim == 3 else GRAY
    expected = np.asarray(Image.open(path)).reshape(6, 8, -1)
    np.testing.assert_array_equal(read_image(path, form), expected)


def test_a_large_jpeg_is_close_to_one_that_is_decoded_in_full(tmp_path):
    smooth = Image.fromarray(COLORS).resize((400, 300), Image.Resampling.BICUBIC)
    path = save(tmp_path, smooth, "a.jpg", quality=95)
    expected = Image.open(path).resize((8, 6), Image.Resampling.BILINEAR)
    difference = read_image(path, RGB).astype(int) - np.asarray(expected)
    assert np.abs(difference).max() < 8


@pytest.mark.parametrize("size", [(400, 300), (50, 37), (16, 12), (15, 12)])
def test_a_jpeg_is_decoded_to_the_same_with_and_without_exif(tmp_path, size):
    smooth = Image.fromarray(COLORS).resize(size, Image.Resampling.BICUBIC)
    plain = read_image(save(tmp_path, smooth, "a.jpg"), RGB)
    exif = Image.Exif()
    exif[0x0112] = 1
    np.testing.assert_array_equal(
        read_image(save(tmp_path, smooth, "b.jpg", exif=exif), RGB), plain
    )


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.fromarray(np.full((6, 8), value, "uint8")) for value in (200, 50)]
    path = save(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(path, GRAY) == 200).all()


def test_a_palette_becomes_colors(tmp_path):
    path = save(tmp_path, Image.fromarray(COLORS).quantize(16), "a.png")
    expected = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(read_image(path, RGB), expected)


def test_transparent_pixels_are_white(tmp_path):
    clear = np.dstack([COLORS, np.where(RAMP < 100, 0, 255).astype("uint8")])
    image = read_image(save(tmp_path, clear, "a.png"), RGB)
    assert (image[RAMP < 100] == 255).all()
    np.testing.assert_array_equal(image[RAMP >= 100], COLORS[RAMP >= 100])


def test_a_transparent_color_of_a_palette_is_white(tmp_path):
    indexed = Image.fromarray(np.zeros((6, 8), "uint8"), "P")
    indexed.putpalette([255, 0, 0])
    assert (read_image(save(tmp_path, indexed, "a.png", transparency=0), RGB) == 255).all()


def test_cmyk_becomes_colors(tmp_path):
    path = save(tmp_path, Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "a.jpg")
    assert np.abs(read_image(path, RGB).astype(int) - [255, 0, 0]).max() < 20


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_the_orientation_of_exif_is_applied(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    tall = np.zeros((8, 6, 3), "uint8")
    tall[:2] = 255  # white at the top becomes white at the right
    image = read_image(save(tmp_path, tall, name, exif=exif), RGB)
    assert image[:, 7].min() > 200 and image[:, :4].max() < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pngs_with_colors_are_turned_as_those_of_8_bits(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, COLORS, "a.png", exif=exif)
    size = (8, 6) if orientation > 4 else (6, 8)
    expected = read_image(path, ImageFormat(*size, 3))
    deep = imagecodecs.png_encode(COLORS.astype("uint16") * 257)
    chunk = path.read_bytes()[33:].split(b"IDAT")[0][:-4]  # eXIf, between header and pixels
    (tmp_path / "b.png").write_bytes(deep[:33] + chunk + deep[33:])
    np.testing.assert_array_equal(read_image(tmp_path / "b.png", ImageFormat(*size, 3)), expected)


def test_sixteen_bits_keep_their_precision(tmp_path):
    deep = (RAMP.astype("uint16") << 4) + 7
    path = save(tmp_path, deep, "a.png")
    image = read_image(path, ImageFormat(6, 8, 1, dtype="float32", white=4095.0))
    np.testing.assert_allclose(image[..., 0], deep * (255 / 4095), rtol=1e-6)


def test_sixteen_bits_are_rounded_among_images_of_eight(tmp_path):
    path = save(tmp_path, RAMP.astype("uint16") * 257, "a.tif")
    np.testing.assert_array_equal(read_image(path, GRAY)[..., 0], RAMP)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planes", [False, True])
def test_all_bands_of_a_tiff_are_read(tmp_path, rng, dtype, planes):
    bands = rng.integers(0, 256, (6, 8, 13)).astype(dtype)
    array = np.moveaxis(bands, -1, 0) if planes else bands
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.ascontiguousarray(array),
        photometric="minisblack",
        planarconfig="separate" if planes else "contig",
    )
    image = read_image(tmp_path / "a.tif", ImageFormat(6, 8, 13, "float32", white=255.0))
    np.testing.assert_allclose(image, bands)


@pytest.mark.parametrize("imagej", [True, False])
def test_channels_on_pages_of_their_own_are_bands(tmp_path, rng, imagej):
    channels = rng.integers(0, 256, (3, 6, 8)).astype("uint8")
    options = {"imagej": True} if imagej else {"ome": True, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", channels, metadata={"axes": "CYX"}, **options)
    image = read_image(tmp_path / "a.tif", RGB)
    np.testing.assert_array_equal(image, np.moveaxis(channels, 0, -1))


@pytest.mark.parametrize(
    ("value", "words"), [(-1.5, "values below 0, down to -1.5"), (np.inf, "NaN or infinite")]
)
def test_values_without_a_place_in_the_range_are_refused(tmp_path, value, words):
    array = np.ones((6, 8), "float32")
    array[2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(UnreadableImageError, match=words):
        read_image(tmp_path / "a.tif", GRAY)


def test_the_fourth_band_of_a_tiff_is_no_transparency_unless_it_says_so(tmp_path, rng):
    bands = rng.integers(0, 256, (6, 8, 4)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", ImageFormat(6, 8, 4)), bands)


def test_other_sizes_are_resized_with_all_of_the_image(tmp_path):
    halves = np.zeros((60, 200), "uint8")
    halves[:, 100:] = 255
    image = read_image(save(tmp_path, halves, "a.png"), GRAY)[..., 0]
    assert image.shape == (6, 8) and (image[:, :3] == 0).all() and (image[:, 5:] == 255).all()


def test_cropping_keeps_the_center_and_the_aspect_ratio(tmp_path):
    stripes = np.zeros((60, 200), "uint8")
    stripes[:, 60:140] = 255
    image = read_image(save(tmp_path, stripes, "a.png"), ImageFormat(6, 8, 1, crop=True))
    assert image.min() > 200 and (image[:, 1:-1] == 255).all()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello", "not a JPEG"), (b"\xff\xd8\xff\xe0\0\4ab", "image")],
)
def test_what_is_no_image_says_so(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(Exception, match=words):
        read_image(tmp_path / "a.jpg", RGB)


@pytest.mark.parametrize("size", [(8, 6), (800, 600)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_of_a_file_is_an_error(tmp_path, rng, kind, size):
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3)).astype("uint8")).save(buffer, kind)
    content = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) - 60])
    with pytest.raises(Exception, match="truncated|not enough|broken|EOF|cannot decode"):
        read_image(tmp_path / "a.jpg", RGB)


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.gif", "deep.png"]
)
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, name):
    path = tmp_path / name
    if name == "deep.png":
        path.write_bytes(imagecodecs.png_encode(COLORS.astype("uint16")))
    else:
        save(tmp_path, RAMP, name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(Image.DecompressionBombError):
        read_image(path, GRAY)


def test_a_tiff_that_would_be_a_bomb_is_refused(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    tifffile.imwrite(tmp_path / "a.tif", rng.random((6, 8, 13)), photometric="minisblack")
    with pytest.raises(ValueError, match="too many pixels"):
        read_image(tmp_path / "a.tif", ImageFormat(6, 8, 13))
