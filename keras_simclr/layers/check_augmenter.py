"""A check of any augmenter before training with it."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_simclr.layers.views import view_function

COPIES = 128  # of one image, enough to see what happens to one view in ten
TOLERANCE = 1e-3  # of the value range


class Finding(NamedTuple):
    """Whether a check passed, and a sentence that states the result."""

    passed: bool
    sentence: str


def check_augmenter(
    augmenter: keras.layers.Layer, images: Any, value_range: tuple[float, float] | None = None
) -> list[Finding]:
    """Check an augmenter on images, as pretraining would use it.

    It finds problems that make pretraining fail without an error: views that are all the same, one
    draw for the whole batch, the same draws in every step, images changed in place, and values
    that are not finite or out of range.

    Args:
        augmenter: Any Keras layer from images to images.
        images: Images (N, H, W, C). A batch of copies of the first one is used; it should have
            more than one color.
        value_range: (lower, upper) of the views. Defaults to the augmenter's own, or (0, 255).

    Returns:
        A list of `Finding`, each (passed, sentence).

    Raises:
        ValueError: If `images` is empty or not of rank 4.

    Example:
    >>> import keras, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), "uint8")
    >>> for passed, sentence in check_augmenter(keras.layers.RandomCrop(8, 8), images):
    ...     print("ok   " if passed else "WRONG", sentence)
    ok    The 128 views have the shape (8, 8, 3).
    ok    All values are finite and in (0, 255).
    ok    Every step has its own draws.
    WRONG All images of a batch have the same draw.
    ok    The images are not changed.
    """
    images = ops.convert_to_numpy(images)
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "`images` must be images of shape (N, height, width, channels). Received: "
            f"shape={images.shape}."
        )
    if value_range is None:
        lower, upper = getattr(augmenter, "value_range", (0, 255))
    else:
        lower, upper = value_range
    num_views = getattr(augmenter, "num_views", 2)
    copies = COPIES // num_views * num_views
    batch = np.repeat(images[:1], copies, axis=0).astype("float32")
    before = batch.copy()
    given = ops.convert_to_tensor(batch)
    views_of = view_function(augmenter)
    views, next_views = views_of(given, 0), views_of(given, 1)
    findings = [_shape(views, copies)]
    if not findings[0].passed:
        return findings
    scale = upper - lower
    parts = np.split(views, num_views)  # an augmenter may treat first and other views differently
    return [
        *findings,
        _range(views, lower, upper),
        _finding(
            _differ(views, next_views, scale),
            "Every step has its own draws.",
            "Every step has the same views: does the layer draw from a `keras.random."
            "SeedGenerator`, and do anything with training=True?",
        ),
        _finding(
            all(_differ(part, part[:1], scale) for part in parts),
            "Every image of a batch has its own draws, and so does each of its views.",
            "All images of a batch have the same draw.",
        ),
        _finding(
            np.array_equal(ops.convert_to_numpy(given), before),
            "The images are not changed.",
            "The images are changed in place.",
        ),
    ]


def _finding(passed, good, bad):
    return Finding(bool(passed), good if passed else bad)


def _shape(views, copies):
    passed = views.ndim == 4 and len(views) == copies
    return _finding(
        passed,
        f"The {copies} views have the shape {views.shape[1:]}.",
        f"{copies} images should become {copies} views (height, width, channels), and became "
        f"{views.shape}.",
    )


def _range(views, lower, upper):
    margin = TOLERANCE * (upper - lower)
    return _finding(
        lower - margin <= views.min() and views.max() <= upper + margin,
        f"All values are finite and in {(lower, upper)}.",
        f"Values should be finite and in {(lower, upper)}, and are from {views.min()} to "
        f"{views.max()}.",
    )


def _differ(views, others, scale):
    return np.abs(views - others).max() > TOLERANCE * scale
