"""Arguments of `SimCLRAugmenter` for some kinds of images: `SimCLRAugmenter(**CIFAR)`.

`IMAGENET` and `CIFAR` are from the paper, and are the augmenter's defaults for large and small
views; the others are not from a paper.

References:
    Chen et al. 2020 (arXiv:2002.05709), appendices A and B.9.
"""

from typing import Any

IMAGENET: dict[str, Any] = {  # views of more than 32 pixels
    "strength": 1.0,
    "scale": (0.08, 1.0),
    "aspect_ratio": (3 / 4, 4 / 3),
    "horizontal_flip": 0.5,
    "color_distortion": 0.8,
    "grayscale": 0.2,
    "blur": 0.5,
}

CIFAR: dict[str, Any] = {  # views of at most 32 pixels
    **IMAGENET,
    "strength": 0.5,
    "blur": 0.0,
}

CROP_AND_FLIP: dict[str, Any] = {  # what `fine_tune` leaves of any augmenter
    "color_distortion": 0.0,
    "grayscale": 0.0,
    "blur": 0.0,
}

SMALL_GRAY: dict[str, Any] = {  # digits, letters: one channel, where a flip may change the class
    **CIFAR,
    "scale": (0.25, 1.0),
    "horizontal_flip": 0.0,
    "grayscale": 0.0,
}

MANY_CHANNELS: dict[str, Any] = {  # satellite images; use `custom=[RandomRotate90()]` with it
    **IMAGENET,
    "strength": 0.5,
    "scale": (0.2, 1.0),
    "grayscale": 0.0,
}
