"""Pictures turned by a random number of right angles."""

import keras
from keras import ops

from keras_simclr.layers.random_transform import RandomTransform, per_picture


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomQuarterTurn(RandomTransform):
    """Turn each picture by 0, 90, 180 or 270 degrees, all as likely.

    For pictures that have no upright, as those of satellites and microscopes. It is none of
    SimCLR's own transforms: it goes into the `custom` list of `SimCLRAugmenter`.

    Args:
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with square pictures (N, H, H, C): as many of the same size, float32. With
        `training=False` they are as they were.

    Raises:
        ValueError: If the pictures are not square.

    Example:
    >>> import numpy as np
    >>> turn = RandomQuarterTurn(seed=0)
    >>> tuple(turn(np.zeros((2, 32, 32, 3), "uint8")).shape)
    (2, 32, 32, 3)
    """

    def __init__(self, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)

    def build(self, input_shape):
        """Check that the pictures are square."""
        height, width = input_shape[1:3]
        if height != width:
            raise ValueError(
                "Only square pictures can be turned by right angles. Received: "
                f"shape={tuple(input_shape)}. Crop them first."
            )

    def sample(self, batch_size, height, width, training=True):
        """Draw the number of quarter turns counterclockwise, whole numbers of shape (N,)."""
        if not training:
            return None
        return ops.minimum(ops.floor(self.uniform((batch_size,), 0.0, 4.0)), 3.0)

    def apply_to_planes(self, planes, prepared):
        """Turn: k = 1 is a transposition and a flip of the rows, k = 2 flips both, and so on."""
        turns = per_picture(prepared)
        odd = ops.logical_or(turns == 1, turns == 3)
        planes = ops.where(odd, ops.swapaxes(planes, 2, 3), planes)
        rows = ops.logical_or(turns == 1, turns == 2)
        planes = ops.where(rows, ops.flip(planes, 2), planes)
        return ops.where(turns >= 2, ops.flip(planes, 3), planes)
