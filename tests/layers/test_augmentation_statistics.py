"""Random views have the distribution of the authors', whose 4000 draws are in tests/golden.

Each test compares two estimates, theirs and ours: their difference, divided by its standard error.
Every 16 consecutive images have the same order of the color steps. Such a group holds each of the
four images four times: the four draws of an image in a group are averaged first, and standard
errors come from the variance of these averages, which are independent.
"""

import functools
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    RandomColorDistortion,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    SimCLRAugmenter,
)
from keras_simclr.layers.views import view_function

GOLDEN = Path(__file__).parents[1] / "golden"
STAGES = [(32, s) for s in ("crop", "color", "color_half", "full")]
STAGES += [(96, s) for s in ("crop", "color", "color_half", "full", "blur")]
IMAGES = 4
IN_A_GROUP = 4  # draws of one image in a group of 16 images
BATCH = 256
BATCHES = {32: 32, 96: 16}  # 2048 and 1024 draws of each image
THINNED = {32: 1, 96: 2}  # the reference maps of 96 pixels hold every second row and column
SIGMAS = 5.5  # standard errors allowed to a single number
SIGMAS_OF_A_PIXEL = 6.0  # of which there are thousands
ROUNDING = 5e-4  # of the reference maps, in float16
COMPONENTS = 20
# A chi-square with k degrees exceeds k + 2 sqrt(k t) + 2 t with a chance of at most e^-t.
CHI_SQUARE_BOUND = COMPONENTS + 2 * np.sqrt(COMPONENTS * 18) + 2 * 18

ONCE = [stage for stage in STAGES if stage[0] == 96 and stage[1] != "blur"]

for_each_stage = pytest.mark.parametrize(
    "size, stage",
    [pytest.param(*stage, marks=[pytest.mark.once] * (stage in ONCE)) for stage in STAGES],
)


def layer(size, stage, strength):
    ranges = {"value_range": (0, 1), "seed": 7}
    factors = dict.fromkeys(("brightness_factor", "contrast_factor"), 0.8 * strength)
    factors |= {"saturation_factor": 0.8 * strength, "hue_factor": 0.2 * strength}
    if stage == "crop":
        return RandomResizedCrop(size, **ranges)
    if stage == "color":
        grayscale = RandomGrayscale(value_range=(0, 1), seed=70_000)
        return keras.Sequential([RandomColorDistortion(**factors, **ranges), grayscale])
    if stage == "color_half":
        return RandomColorDistortion(**factors, factor=1.0, **ranges)
    if stage == "full":
        return SimCLRAugmenter(size, blur=0.0, **ranges)
    return RandomGaussianBlur(factor=1.0, border="zeros", **ranges)


@functools.cache
def reference(size):
    with np.load(GOLDEN / f"augment_{size}.npz", allow_pickle=False) as numbers:
        return dict(numbers)


@functools.cache
def drawn(size, stage):
    """Draw the views of a stage and return what is compared."""
    golden = reference(size)
    square = stage in ("color", "color_half", "blur") and size != 32
    images = golden["images_square" if square else "images"].astype("float32") / 255
    views_of = view_function(layer(size, stage, float(golden["strength"])))
    batch = np.tile(images, (BATCH // IMAGES, 1, 1, 1))
    center = golden[f"{stage}_mean"].astype("float32")
    sums, kept = 0, []
    for step in range(BATCHES[size]):
        views = views_of(batch, step).reshape((-1, IN_A_GROUP, IMAGES, size, size, 3))
        pixels = views[..., :: THINNED[size], :: THINNED[size], :]
        first, second = averages(pixels - center)
        sums = sums + np.stack([x.sum(axis=0) for x in (first, first**2, second, second**2)])
        kept.append({**of_some_pixels(first, second), **of_each_view(views, pixels)})
        if stage == "color":
            original = images[:, :: THINNED[size], :: THINNED[size]]
            kept[-1]["unchanged"] = np.abs(pixels - original).max(axis=(3, 4, 5)) < 1e-5
    kept = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return SimpleNamespace(groups=len(kept["gray"]), sums=sums.astype("float64"), **kept)


def averages(offset):
    """Return the averages over a group's draws of the offsets (groups, 4, ...) and squares."""
    first = offset.mean(axis=1)
    return first, np.square(offset, out=offset).mean(axis=1)


def of_some_pixels(first, second):
    few = few_of(first[0, 0].size)
    return {
        "few_first": first.reshape(len(first), IMAGES, -1)[..., few],
        "few_second": second.reshape(len(second), IMAGES, -1)[..., few],
    }


def few_of(pixels):
    return np.random.default_rng(0).choice(pixels, 100, replace=False)


def of_each_view(views, pixels):
    red, green, blue = np.moveaxis(pixels, -1, 0)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return {
        "channels": views.mean(axis=(3, 4), dtype="float64"),
        "gradient": np.abs(views[..., 1:, :] - views[..., :-1, :]).mean(axis=(3, 4, 5)),
        "gray": spread.max(axis=(3, 4)) < 1e-3,
    }


def map_scores(size, stage):
    """Return the z-scores of the mean and of the variance of every pixel."""
    golden, ours = reference(size), drawn(size, stage)
    deviation, draws = golden[f"{stage}_std"].astype("float64"), golden["draws"]
    # Offsets are from their mean, so the average square is nearly the variance.
    mean, mean_square, second, second_square = ours.sums / ours.groups
    of_mean = (mean_square - mean**2) / ours.groups + deviation**2 / draws + ROUNDING**2
    # The variance of one draw is at most that of a group's average times the draws in it.
    scatter = second_square - second**2
    of_variance = scatter / ours.groups + scatter * IN_A_GROUP / draws
    of_variance += (2 * deviation * ROUNDING) ** 2 + 1e-12
    difference = second - mean**2 - deviation**2
    return mean / np.sqrt(of_mean), difference / np.sqrt(of_variance)


def components(difference, few, draws):
    """Return squared z-scores of the difference in the main directions in which pixels vary.

    Pixels vary together. `few` holds some of them for each group; the eigenvectors of their
    covariance are directions in which the difference scatters independently, with the variance
    l / groups on our side and at most 4 l / draws on theirs.
    """
    values, vectors = np.linalg.eigh(np.cov(few, rowvar=False))
    values, vectors = values[-COMPONENTS:], vectors[:, -COMPONENTS:]
    variance = values * (1 / len(few) + IN_A_GROUP / draws) + ROUNDING**2
    return (difference @ vectors) ** 2 / variance


@for_each_stage
def test_the_mean_of_every_pixel_agrees_with_the_authors(size, stage):
    assert np.abs(map_scores(size, stage)[0]).max() < SIGMAS_OF_A_PIXEL


@for_each_stage
def test_the_variance_of_every_pixel_agrees_with_the_authors(size, stage):
    assert np.abs(map_scores(size, stage)[1]).max() < SIGMAS_OF_A_PIXEL


def component_sums(size, stage):
    """Return for each image the sums of `components` for the mean and for the variance."""
    golden, ours = reference(size), drawn(size, stage)
    deviation = golden[f"{stage}_std"].astype("float64").reshape(IMAGES, -1)
    variance = deviation[:, few_of(deviation.shape[1])] ** 2
    return [
        [
            components(few[:, i].mean(axis=0) - expected[i], few[:, i], golden["draws"]).sum()
            for i in range(IMAGES)
        ]
        for few, expected in ((ours.few_first, 0 * variance), (ours.few_second, variance))
    ]


@for_each_stage
def test_the_main_components_of_pixels_agree_with_the_authors(size, stage):
    assert np.max(component_sums(size, stage)) < CHI_SQUARE_BOUND


def rate_scores(found, expected, draws):
    """Return z-scores of rates in our draws, booleans (groups, 4, ...), against theirs.

    The variance of ours is that of groups, but at least that of independent draws.
    """
    groups = len(found)
    independent = expected * (1 - expected)
    variance = np.maximum(
        found.mean(axis=1).var(axis=0) / groups, independent / (groups * IN_A_GROUP)
    )
    error = np.sqrt(variance + independent / draws)
    difference = found.mean(axis=(0, 1)) - expected
    return difference / np.maximum(error, 1e-6)


def check_quantiles(size, values, quantiles):
    """Check the rate of our draws, (groups, 4, ...), below each of their quantiles.

    If many draws have the same value, as those of images that do not change, the rate may jump at
    a quantile: both sides of it are checked.
    """
    levels, draws = reference(size)["quantile_levels"], reference(size)["draws"]
    for level, quantile in zip(levels, np.moveaxis(quantiles, 1, 0), strict=True):
        assert (rate_scores(values < quantile - 3e-6, level, draws) < SIGMAS).all(), level
        assert (rate_scores(values <= quantile + 3e-6, level, draws) > -SIGMAS).all(), level


@for_each_stage
def test_the_channel_means_of_views_are_distributed_as_the_authors(size, stage):
    quantiles = reference(size)[f"{stage}_channel_quantiles"]
    check_quantiles(size, drawn(size, stage).channels, quantiles)


@for_each_stage
def test_the_sharpness_of_views_is_distributed_as_the_authors(size, stage):
    quantiles = reference(size)[f"{stage}_gradient_quantiles"]
    check_quantiles(size, drawn(size, stage).gradient, quantiles)


def check_rates(size, found, expected):
    """Check the rate of each image, and their average, whose error is half of an image's."""
    scores = rate_scores(found, expected, reference(size)["draws"])
    assert np.abs(scores).max() < SIGMAS
    assert np.abs(scores.sum()) / 2 < SIGMAS


@for_each_stage
def test_the_rate_of_gray_views_agrees_with_the_authors(size, stage):
    check_rates(size, drawn(size, stage).gray, reference(size)[f"{stage}_frac_gray"])


@pytest.mark.parametrize("size", [32, pytest.param(96, marks=pytest.mark.once)])
def test_the_rate_of_unchanged_colors_agrees_with_the_authors(size):
    check_rates(size, drawn(size, "color").unchanged, reference(size)["color_frac_unchanged"])
