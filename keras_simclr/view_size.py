"""The largest view size that uses the papers' CIFAR settings instead of those for ImageNet.

References:
    Chen et al. 2020 (arXiv:2002.05709), appendix B.9: for CIFAR-10, with images of 32 x 32 pixels,
    a different stem, weaker color distortion, no blur and different hyperparameters.
"""

SMALL_VIEW = 32  # pixels


def is_small_view(height: int, width: int) -> bool:
    """Return whether neither side of the views exceeds `SMALL_VIEW` pixels, as in CIFAR."""
    return max(height, width) <= SMALL_VIEW
