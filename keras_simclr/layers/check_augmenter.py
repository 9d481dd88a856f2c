"""A check of any augmenter, before a run is spent on it."""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_simclr.training.views import view_function

COPIES = 128  # of one picture, so that what happens to one view in ten is seen
SAME = 1e-3  # of the value range


class Finding(NamedTuple):
    """Whether something is as it should be, and a sentence that says what was found."""

    passed: bool
    sentence: str


def check_augmenter(augmenter, images, value_range=None):
    """Try an augmenter on pictures, as pretraining would use it.

    What it looks for makes pretraining fail without an error: views that are all alike, one draw
    for the whole batch, the same draws in each step, pictures changed in place, values that are
    no numbers or out of range.

    Args:
        augmenter: Any Keras layer from pictures to pictures.
        images: Pictures (N, H, W, C), of which the first, which should not be of one colour, is
            copied into a batch.
        value_range: (low, high) of the views. Defaults to the augmenter's own, or (0, 255).

    Returns:
        A list of `Finding`, each (passed, sentence).

    Raises:
        ValueError: If `images` is not of rank 4 or empty.

    Example:
    >>> import keras, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), "uint8")
    >>> for passed, sentence in check_augmenter(keras.layers.RandomCrop(8, 8), images):
    ...     print("ok   " if passed else "WRONG", sentence)
    ok    The 128 views are of shape (8, 8, 3).
    ok    All values are numbers and lie in (0, 255).
    ok    Each step has draws of its own.
    WRONG All pictures of a batch get the same draw.
    ok    The pictures stay as they were.
    """
    images = ops.convert_to_numpy(images)
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "`images` must be pictures of shape (N, height, width, channels). Received: "
            f"shape={images.shape}."
        )
    low, high = value_range or getattr(augmenter, "value_range", (0, 255))
    batch = np.repeat(images[:1], COPIES, axis=0).astype("float32")
    before = batch.copy()
    given = ops.convert_to_tensor(batch)
    views_of = view_function(augmenter)
    views, of_next_step = views_of(given, 0), views_of(given, 1)
    findings = [_shape(views)]
    if not findings[0].passed:
        return findings
    scale = high - low
    halves = np.split(views, 2)  # an augmenter may treat first and second views differently
    return [
        *findings,
        _range(views, low, high),
        _finding(
            _differ(views, of_next_step, scale),
            "Each step has draws of its own.",
            "Every step has the same views: does the layer draw from a `keras.random."
            "SeedGenerator`, and do anything with training=True?",
        ),
        _finding(
            all(_differ(half, half[:1], scale) for half in halves),
            "The pictures of a batch have draws of their own, and so have the two views of each.",
            "All pictures of a batch get the same draw.",
        ),
        _finding(
            np.array_equal(ops.convert_to_numpy(given), before),
            "The pictures stay as they were.",
            "The pictures are changed in place.",
        ),
    ]


def _finding(passed, good, bad):
    return Finding(bool(passed), good if passed else bad)


def _shape(views):
    passed = views.ndim == 4 and len(views) == COPIES
    return _finding(
        passed,
        f"The {COPIES} views are of shape {views.shape[1:]}.",
        f"{COPIES} pictures should give {COPIES} views (height, width, channels), and gave "
        f"{views.shape}.",
    )


def _range(views, low, high):
    margin = SAME * (high - low)
    return _finding(
        low - margin <= views.min() and views.max() <= high + margin,
        f"All values are numbers and lie in {(low, high)}.",
        f"Values should be numbers in {(low, high)}, and lie from {views.min()} to {views.max()}.",
    )


def _differ(views, others, scale):
    return np.abs(views - others).max() > SAME * scale
