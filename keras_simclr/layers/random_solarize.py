"""Some pictures with their bright values inverted."""

import keras
from keras import ops

from keras_simclr.layers.random_transform import (
    RandomTransform,
    check_number,
    check_probability,
    per_picture,
)


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomSolarize(RandomTransform):
    """Invert the values from a threshold on, in some pictures.

    It is none of SimCLR's own transforms: it goes into the `custom` list of `SimCLRAugmenter`.

    Args:
        probability: Share of the pictures that are changed. Defaults to 0.2.
        threshold: Where inversion begins, as a share of the value range. Defaults to 0.5.
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C): as many of the same size, float32. With
        `training=False` they are as they were.

    Raises:
        ValueError: If `probability` or `threshold` lies outside [0, 1].

    Example:
    >>> import numpy as np
    >>> solarized = RandomSolarize(probability=1.0)(np.array([[[[0], [100], [200]]]], "uint8"))
    >>> [round(float(value)) for value in solarized[0, 0, :, 0]]
    [0, 100, 55]

    Source: Grill et al. 2020 (arXiv:2006.07733), appendix B.
    """

    def __init__(self, probability=0.2, threshold=0.5, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("probability", probability)
        check_number("threshold", threshold, 0, 1)
        self.probability = probability
        self.threshold = threshold

    def sample(self, batch_size, height, width, training=True):
        """Draw which pictures are inverted, booleans of shape (N,)."""
        return self.happens(batch_size, self.probability) if training else None

    def apply_to_planes(self, planes, prepared):
        """Invert the bright values of the chosen pictures."""
        bright = ops.cast(planes >= self.threshold, "float32")
        chosen = per_picture(ops.cast(prepared, "float32"))
        return planes + bright * chosen * (1.0 - 2.0 * planes)

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "probability": self.probability,
            "threshold": self.threshold,
        }
