"""Gaussian blur of a strength drawn for each picture."""

import keras
import numpy as np
from keras import ops

from keras_simclr.layers.random_resized_crop import check_interval
from keras_simclr.layers.random_transform import RandomTransform, check_probability
from keras_simclr.training.execution import where_chosen

BORDERS = ("renormalize", "zeros")
BLOCK = 32  # rows or columns that are multiplied together


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomGaussianBlur(RandomTransform):
    """Blur some pictures, each with a strength of its own.

    The kernel is as wide as a tenth of the picture's height, made odd, so that pictures of less
    than 20 pixels are not blurred.

    Args:
        probability: Share of the pictures that are blurred. Defaults to 0.5.
        sigma: (least, most) standard deviation in pixels, drawn uniformly. Defaults to (0.1, 2.0).
        border: What lies outside of the picture: "renormalize" (default), nothing, so that a
            grey picture stays grey; or "zeros", black, as in the authors' code, whose pictures
            have dark borders.
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C): as many of the same size, float32. With
        `training=False` they are as they were.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
    >>> import numpy as np
    >>> blur = RandomGaussianBlur(probability=1.0)
    >>> image = np.full((1, 32, 32, 3), 99, "uint8")
    >>> bool(ops.max(ops.abs(blur(image) - 99.0)) < 1e-3)
    True

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        probability=0.5,
        sigma=(0.1, 2.0),
        border="renormalize",
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("probability", probability)
        check_interval("sigma", sigma)
        if border not in BORDERS:
            raise ValueError(f"`border` must be one of {BORDERS}. Received: border={border!r}.")
        self.probability = probability
        self.sigma = tuple(sigma)
        self.border = border

    def sample(self, batch_size, height, width, training=True):
        """Draw the standard deviation of each picture, (N,); 0 where it is not blurred."""
        if not training:
            return None
        sigma = self.uniform((batch_size,), *self.sigma)
        return ops.where(self.happens(batch_size, self.probability), sigma, 0.0)

    def prepare(self, parameters, input_shape):
        """Compute which pictures are blurred, (N,), and half of each kernel, (N, radius + 2)."""
        radius = input_shape[1] // 20
        squares = ops.reshape(ops.arange(radius + 1, dtype="float32") ** 2, (1, -1))
        variance = ops.expand_dims(ops.maximum(parameters, 1e-3) ** 2, 1)
        kernel = ops.exp(-squares / (2.0 * variance))
        kernel = kernel / (2.0 * ops.sum(kernel, axis=1, keepdims=True) - 1.0)
        return parameters > 0, ops.pad(kernel, ((0, 0), (0, 1)))

    def leave(self, planes, prepared):
        """Blur along the rows and along the columns."""
        chosen, kernel = prepared
        height, width = planes.shape[2:]
        radius = kernel.shape[1] - 2
        if radius == 0:
            return super().leave(planes, prepared)

        def blurred(planes, kernel):
            rows = self._weights(kernel, height)
            columns = rows if height == width else self._weights(kernel, width)
            return _blurred(planes, rows, columns, radius)

        def as_they_are(planes):
            return super(RandomGaussianBlur, self).leave(planes, None)

        return where_chosen(chosen, blurred, as_they_are, planes, kernel)

    def _weights(self, kernel, size):
        """Return the banded matrices (N, size, size) of kernels (N, radius + 2)."""
        place = np.arange(size)
        distance = np.minimum(np.abs(place[:, None] - place[None, :]), kernel.shape[1] - 1)
        weights = ops.reshape(ops.take(kernel, distance.ravel(), axis=1), (-1, size, size))
        if self.border == "zeros":
            return weights
        return weights / ops.sum(weights, axis=2, keepdims=True)

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "probability": self.probability,
            "sigma": self.sigma,
            "border": self.border,
        }


def _blurred(planes, rows, columns, radius):
    """Apply row weights (N, H, H) and column weights (N, W, W) to planes (N, C, H, W).

    Weights further than `radius` from the diagonal are zero: each block of what comes out is the
    product of the few pixels that count for it. The result is pictures (N, H, W, C).
    """
    channels, height, width = planes.shape[1:]
    planes = ops.reshape(planes, (-1, channels * height, width))
    parts = [
        ops.matmul(planes[:, :, near], ops.swapaxes(columns[:, block, near], 1, 2))
        for block, near in _blocks(width, radius)
    ]
    planes = ops.reshape(ops.concatenate(parts, axis=2), (-1, channels, height, width))
    images = ops.reshape(ops.transpose(planes, (0, 2, 3, 1)), (-1, height, width * channels))
    parts = [
        ops.matmul(rows[:, block, near], images[:, near]) for block, near in _blocks(height, radius)
    ]
    return ops.reshape(ops.concatenate(parts, axis=1), (-1, height, width, channels))


def _blocks(size, radius):
    """Return slices of an axis, and for each that of all pixels within `radius`."""
    return [
        (slice(start, start + BLOCK), slice(max(start - radius, 0), start + BLOCK + radius))
        for start in range(0, size, BLOCK)
    ]
