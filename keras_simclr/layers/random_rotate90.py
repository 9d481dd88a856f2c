"""Random rotation by right angles."""

from typing import Any

import keras
from keras import ops

from keras_simclr.layers.image_layer import check_static_size
from keras_simclr.layers.random_transform import RandomTransform, per_image


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomRotate90(RandomTransform):
    """Rotate each image by 0, 90, 180 or 270 degrees, all equally likely.

    For images without a natural orientation, such as satellite and microscope images. It is not
    one of SimCLR's transforms: pass it to `SimCLRAugmenter` in the list `custom`.

    Args:
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, H, C), any integer or float dtype.

    Output shape:
        (N, H, H, C), float32. With `training=False` the values do not change.

    Raises:
        ValueError: If the images are not square.

    Example:
    >>> import numpy as np
    >>> layer = RandomRotate90(seed=0)
    >>> tuple(layer(np.zeros((2, 32, 32, 3), "uint8")).shape)
    (2, 32, 32, 3)
    """

    def __init__(
        self,
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)

    def build(self, input_shape: tuple) -> None:
        """Check that the images are square."""
        height, width = input_shape[1:3]
        if height != width:
            raise ValueError(
                "Only square images can be rotated by right angles. Received: "
                f"shape={tuple(input_shape)}. Crop them first."
            )

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> Any:
        """Draw the number of counterclockwise quarter turns, integral floats of shape (N,)."""
        if not training:
            return None
        return ops.minimum(ops.floor(4.0 * self.uniform((batch_size,))), 3.0)

    def prepare(self, parameters: Any, input_shape: tuple) -> Any:
        """Check that the size is known, as images must be square."""
        check_static_size(self, *input_shape[1:3])
        return parameters

    def apply_to_planes(self, planes: Any, prepared: Any) -> Any:
        """Rotate: one turn is a transposition and a flip of the rows, two flip both axes, ..."""
        turns = per_image(prepared)
        odd = ops.logical_or(turns == 1, turns == 3)
        planes = ops.where(odd, ops.swapaxes(planes, 2, 3), planes)
        rows = ops.logical_or(turns == 1, turns == 2)
        planes = ops.where(rows, ops.flip(planes, 2), planes)
        return ops.where(turns >= 2, ops.flip(planes, 3), planes)
