"""Our random views have the distribution of the authors', whose 4000 draws are in tests/golden.

Every comparison is of two estimates, theirs and ours, divided by the standard error of their
difference. Our pictures come in groups of 16 that share the order of the colour steps: a group
holds each of the four images four times, so the four draws of an image in a group are averaged
first, and standard errors come from the scatter of these averages, which are independent.
"""

import functools
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_simclr.layers import (
    RandomColorJitter,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomResizedCrop,
    SimCLRAugmenter,
)
from keras_simclr.training.views import view_function

GOLDEN = Path(__file__).parents[1] / "golden"
STAGES = [(32, s) for s in ("crop", "color", "color_half", "full")]
STAGES += [(96, s) for s in ("crop", "color", "color_half", "full", "blur")]
IMAGES = 4
IN_A_GROUP = 4  # draws of one image in a group of 16 pictures
BATCH = 256
BATCHES = {32: 32, 96: 16}  # 2048 and 1024 draws of each image
THINNED = {32: 1, 96: 2}  # the reference maps of 96 pixels hold every second row and column
SIGMAS = 5.5  # standard errors allowed to a single number
SIGMAS_OF_A_PIXEL = 6.0  # of which there are thousands
ROUNDING = 5e-4  # of the reference maps, in float16
COMPONENTS = 20
# A chi-square with k degrees exceeds k + 2 sqrt(k t) + 2 t with a chance of at most e^-t.
CHI_SQUARE_BOUND = COMPONENTS + 2 * np.sqrt(COMPONENTS * 18) + 2 * 18

for_each_stage = pytest.mark.parametrize("size, stage", STAGES)


def layer(size, stage, strength):
    ranges = {"value_range": (0, 1), "seed": 7}
    jitter = dict.fromkeys(("brightness", "contrast", "saturation"), 0.8 * strength)
    jitter["hue"] = 0.2 * strength
    if stage == "crop":
        return RandomResizedCrop(size, **ranges)
    if stage == "color":
        grayscale = RandomGrayscale(value_range=(0, 1), seed=8)
        return keras.Sequential([RandomColorJitter(**jitter, **ranges), grayscale])
    if stage == "color_half":
        return RandomColorJitter(**jitter, probability=1.0, **ranges)
    if stage == "full":
        return SimCLRAugmenter(size, blur=0.0, **ranges)
    return RandomGaussianBlur(probability=1.0, border="zeros", **ranges)


@functools.cache
def reference(size):
    with np.load(GOLDEN / f"augment_{size}.npz", allow_pickle=False) as numbers:
        return dict(numbers)


@functools.cache
def drawn(size, stage):
    """Draw the views of a stage and keep what is compared."""
    golden = reference(size)
    square = stage in ("color", "color_half", "blur") and size != 32
    images = golden["images_square" if square else "images"].astype("float32") / 255
    thin = THINNED[size]
    centre = golden[f"{stage}_mean"].astype("float32")
    views_of = view_function(layer(size, stage, float(golden["strength"])))
    batch = np.tile(images, (BATCH // IMAGES, 1, 1, 1))
    original = images[:, ::thin, ::thin]
    sums = np.zeros((4, *centre.shape))
    few = np.random.default_rng(0).choice(centre[0].size, 200, replace=False)
    kept = {name: [] for name in ("mean", "variance", "channels", "gradient", "gray", "unchanged")}
    for step in range(BATCHES[size]):
        views = views_of(batch, step).reshape((-1, IN_A_GROUP, IMAGES, size, size, 3))
        pixels = views[..., ::thin, ::thin, :]
        offset = pixels - centre
        first = offset.mean(axis=1)
        second = np.square(offset, out=offset).mean(axis=1)
        sums += [x.sum(axis=0) for x in (first, first**2, second, second**2)]
        kept["mean"].append(first.reshape(len(first), IMAGES, -1)[..., few])
        kept["variance"].append(second.reshape(len(second), IMAGES, -1)[..., few])
        kept["channels"].append(views.mean(axis=(3, 4), dtype="float64"))
        kept["gradient"].append(np.abs(views[..., 1:, :] - views[..., :-1, :]).mean(axis=(3, 4, 5)))
        red, green, blue = np.moveaxis(pixels, -1, 0)
        spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
        kept["gray"].append(spread.max(axis=(3, 4)) < 1e-3)
        if stage == "color":
            kept["unchanged"].append(np.abs(pixels - original).max(axis=(3, 4, 5)) < 1e-5)
    kept = {name: np.concatenate(parts) for name, parts in kept.items() if parts}
    groups = len(kept["gray"])
    means = sums / groups
    return SimpleNamespace(
        groups=groups,
        few=few,
        mean=means[0],
        variance_of_mean=means[1] - means[0] ** 2,
        second=means[2],
        variance_of_second=means[3] - means[2] ** 2,
        **{f"few_{name}": kept.pop(name) for name in ("mean", "variance")},
        **kept,
    )


def map_scores(size, stage):
    """Return the z-scores of the mean and of the variance of every pixel."""
    golden, ours = reference(size), drawn(size, stage)
    deviation = golden[f"{stage}_std"].astype("float64")
    draws = golden["draws"]
    # The centre of `mean` is the reference mean, so that `second` is the variance but for a trifle.
    error = np.sqrt(ours.variance_of_mean / ours.groups + deviation**2 / draws + ROUNDING**2)
    of_mean = ours.mean / error
    # A draw's own variance is at most that of a group's average times its draws.
    of_one = ours.variance_of_second * IN_A_GROUP
    rounding = 2 * deviation * ROUNDING
    error = np.sqrt(ours.variance_of_second / ours.groups + of_one / draws + rounding**2 + 1e-12)
    of_variance = (ours.second - ours.mean**2 - deviation**2) / error
    return of_mean, of_variance


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
def test_the_mean_of_every_pixel_is_that_of_the_authors(size, stage):
    assert np.abs(map_scores(size, stage)[0]).max() < SIGMAS_OF_A_PIXEL


@for_each_stage
def test_the_variance_of_every_pixel_is_that_of_the_authors(size, stage):
    assert np.abs(map_scores(size, stage)[1]).max() < SIGMAS_OF_A_PIXEL


def component_sums(size, stage):
    """Return for each image the sums of `components` for the mean and for the variance."""
    golden, ours = reference(size), drawn(size, stage)
    expected = golden[f"{stage}_std"].astype("float64").reshape(IMAGES, -1)[:, ours.few] ** 2
    of_mean, of_variance = ours.few_mean, ours.few_variance
    return [
        [
            components(values[:, i].mean(axis=0) - offset, values[:, i], golden["draws"]).sum()
            for i, offset in enumerate(expectation)
        ]
        for values, expectation in ((of_mean, np.zeros_like(expected)), (of_variance, expected))
    ]


@for_each_stage
def test_pixels_together_have_the_mean_and_variance_of_the_authors(size, stage):
    assert np.max(component_sums(size, stage)) < CHI_SQUARE_BOUND


def check_shares(found, expected, draws):
    """Compare shares of our draws, booleans (groups, 4, ...), with shares of `draws` of theirs.

    The variance of ours is that of groups, but no less than that of independent draws.
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
    """Check the share of our draws, (groups, 4, ...), that lie below each of their quantiles.

    Where many draws have one and the same value, as pictures do that stay as they are, the share
    below a quantile may jump there: it counts from both sides.
    """
    levels, draws = reference(size)["quantile_levels"], reference(size)["draws"]
    for level, quantile in zip(levels, np.moveaxis(quantiles, 1, 0), strict=True):
        assert (check_shares(values < quantile - 3e-6, level, draws) < SIGMAS).all(), level
        assert (check_shares(values <= quantile + 3e-6, level, draws) > -SIGMAS).all(), level


@for_each_stage
def test_the_channel_means_of_views_scatter_as_those_of_the_authors(size, stage):
    quantiles = reference(size)[f"{stage}_channel_quantiles"]
    check_quantiles(size, drawn(size, stage).channels, quantiles)


@for_each_stage
def test_the_sharpness_of_views_scatters_as_that_of_the_authors(size, stage):
    quantiles = reference(size)[f"{stage}_gradient_quantiles"]
    check_quantiles(size, drawn(size, stage).gradient, quantiles)


@for_each_stage
def test_as_many_views_are_grey_as_of_the_authors(size, stage):
    golden = reference(size)
    scores = check_shares(drawn(size, stage).gray, golden[f"{stage}_frac_gray"], golden["draws"])
    assert np.abs(scores).max() < SIGMAS


@pytest.mark.parametrize("size", [32, 96])
def test_as_many_pictures_keep_their_colours_as_of_the_authors(size):
    golden = reference(size)
    expected = golden["color_frac_unchanged"]
    scores = check_shares(drawn(size, "color").unchanged, expected, golden["draws"])
    assert np.abs(scores).max() < SIGMAS
