"""Random solarization."""

from typing import Any

import keras
from keras import ops

from keras_simclr.layers.random_transform import RandomTransform, per_image
from keras_simclr.validation import check_number, check_probability


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomSolarize(RandomTransform):
    """Randomly solarize images: invert all values from a threshold up.

    It is not one of SimCLR's transforms: pass it to `SimCLRAugmenter` in the list `custom`.

    Args:
        factor: Probability that an image is solarized. Defaults to 0.2.
        threshold: Smallest value that is inverted, as a fraction of the value range. Defaults to
            0.5.
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype.

    Output shape:
        (N, H, W, C), float32. With `training=False` the values do not change.

    Raises:
        ValueError: If `factor` or `threshold` is not in [0, 1].

    Example:
    >>> import numpy as np
    >>> solarized = RandomSolarize(factor=1.0)(np.array([[[[0], [100], [200]]]], "uint8"))
    >>> [round(float(value)) for value in solarized[0, 0, :, 0]]
    [0, 100, 55]

    References:
        Grill et al. 2020 (arXiv:2006.07733), appendix B.
    """

    def __init__(
        self,
        factor: float = 0.2,
        threshold: float = 0.5,
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("factor", factor)
        check_number("threshold", threshold, 0, 1)
        self.factor = factor
        self.threshold = threshold

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> Any:
        """Draw which images are solarized, booleans of shape (N,)."""
        return self.happens(batch_size, self.factor) if training else None

    def apply_to_planes(self, planes: Any, prepared: Any) -> Any:
        """Solarize the selected images."""
        bright = ops.cast(planes >= self.threshold, "float32")
        selected = per_image(ops.cast(prepared, "float32"))
        return planes + bright * selected * (1.0 - 2.0 * planes)

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {
            **super().get_config(),
            "factor": self.factor,
            "threshold": self.threshold,
        }
