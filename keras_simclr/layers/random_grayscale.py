"""Random conversion to grayscale."""

from typing import Any

import keras
from keras import ops

from keras_simclr.layers.random_transform import RandomTransform, per_image
from keras_simclr.ops.branching import apply_if_needed
from keras_simclr.ops.in_place import add_multiple_, interpolate_
from keras_simclr.validation import check_probability

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as in `tf.image.rgb_to_grayscale`


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomGrayscale(RandomTransform):
    """Randomly convert images to grayscale, keeping three channels.

    Images that do not have three channels do not change.

    Args:
        factor: Probability that an image is converted. Defaults to 0.2.
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype.

    Output shape:
        (N, H, W, C), float32. With `training=False` the values do not change.

    Raises:
        ValueError: If `factor` is not in [0, 1].

    Example:
    >>> import numpy as np
    >>> gray = RandomGrayscale(factor=1.0)(np.array([[[[255, 0, 0]]]], "uint8"))
    >>> [round(float(value), 1) for value in gray[0, 0, 0]]
    [76.2, 76.2, 76.2]

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        factor: float = 0.2,
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("factor", factor)
        self.factor = factor

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> Any:
        """Draw which images are converted, booleans of shape (N,)."""
        return self.happens(batch_size, self.factor) if training else None

    def apply_to_planes(self, planes: Any, prepared: Any) -> Any:
        """Convert the selected images."""
        if planes.shape[1] != 3:
            return planes
        return apply_if_needed(prepared, _grayscale, lambda planes: planes, planes, prepared)

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {**super().get_config(), "factor": self.factor}


def _grayscale(planes, selected):
    gray = LUMA[0] * planes[:, :1]
    for channel in (1, 2):
        gray = add_multiple_(gray, planes[:, channel : channel + 1], LUMA[channel])
    return interpolate_(gray, planes, per_image(1.0 - ops.cast(selected, "float32")))
