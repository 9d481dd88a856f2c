"""Some pictures without their colours."""

import keras
from keras import ops

from keras_simclr.layers.random_transform import RandomTransform, check_probability, per_picture

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as in `tf.image.rgb_to_grayscale`


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomGrayscale(RandomTransform):
    """Make some pictures grey, in all of their channels.

    Pictures that do not have three channels stay as they are.

    Args:
        probability: Share of the pictures that become grey. Defaults to 0.2.
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C): as many of the same size, float32. With
        `training=False` they are as they were.

    Raises:
        ValueError: If `probability` lies outside [0, 1].

    Example:
    >>> import numpy as np
    >>> grey = RandomGrayscale(probability=1.0)(np.array([[[[255, 0, 0]]]], "uint8"))
    >>> [round(float(value), 1) for value in grey[0, 0, 0]]
    [76.2, 76.2, 76.2]

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(self, probability=0.2, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("probability", probability)
        self.probability = probability

    def sample(self, batch_size, height, width, training=True):
        """Draw which pictures become grey, booleans of shape (N,)."""
        return self.happens(batch_size, self.probability) if training else None

    def apply_to_planes(self, planes, prepared):
        """Make the chosen pictures grey."""
        if planes.shape[1] != 3:
            return planes
        grey = sum(weight * planes[:, i : i + 1] for i, weight in enumerate(LUMA))
        return planes + per_picture(ops.cast(prepared, "float32")) * (grey - planes)

    def get_config(self):
        """Return what `from_config` takes."""
        return {**super().get_config(), "probability": self.probability}
