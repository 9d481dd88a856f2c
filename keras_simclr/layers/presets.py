"""The augmentations of `SimCLRAugmenter` by kind of picture: `SimCLRAugmenter(**CIFAR)`.

The first two are the papers' (Chen et al. 2020, arXiv:2002.05709, appendices A and B.9), and
what the augmenter chooses by itself; the others are no paper's.
"""

IMAGENET = {  # views of more than 32 pixels
    "strength": 1.0,
    "area": (0.08, 1.0),
    "aspect_ratio": (3 / 4, 4 / 3),
    "horizontal_flip": 0.5,
    "jitter": 0.8,
    "grayscale": 0.2,
    "blur": 0.5,
}

CIFAR = {**IMAGENET, "strength": 0.5, "blur": 0.0}  # views of at most 32 pixels

SMALL_GRAY = {  # digits, cells: one channel, and what a mirror would make wrong
    **CIFAR,
    "area": (0.25, 1.0),
    "horizontal_flip": 0.0,
    "grayscale": 0.0,
}

MANY_CHANNELS = {  # satellites; with `custom=[RandomQuarterTurn()]`, as they have no upright
    **IMAGENET,
    "strength": 0.5,
    "area": (0.2, 1.0),
    "grayscale": 0.0,
}
