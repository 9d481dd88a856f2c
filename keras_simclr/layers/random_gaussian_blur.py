"""Random Gaussian blur."""

import functools
from typing import Any

import keras
from keras import ops

from keras_simclr.layers.image_layer import check_static_size
from keras_simclr.layers.random_transform import RandomTransform, between
from keras_simclr.ops.branching import where_selected
from keras_simclr.ops.native import native
from keras_simclr.ops.separable_filter import filter_planes, prepare_filter
from keras_simclr.validation import check_choice, check_interval, check_probability, is_integer

BORDERS = ("renormalize", "zeros")


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomGaussianBlur(RandomTransform):
    """Randomly blur images, each with its own standard deviation.

    Args:
        factor: Probability that an image is blurred. Defaults to 0.5.
        kernel_size: Width of the kernel in pixels, a positive odd integer. Defaults to a tenth
            of the height of the images, made odd; images below 20 pixels are therefore not
            blurred.
        sigma: (lower, upper) standard deviation in pixels, drawn uniformly. Defaults to
            (0.1, 2.0).
        border: "renormalize" (default) weights only the pixels inside the image, so that images
            of one color do not change; "zeros" pads with black, as the authors' code does, which
            darkens the border.
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype.

    Output shape:
        (N, H, W, C), float32. With `training=False` the values do not change.

    Raises:
        ValueError: If an argument is out of its range, or the size of the images is unknown.

    Example:
    >>> import numpy as np
    >>> blur = RandomGaussianBlur(factor=1.0)
    >>> image = np.full((1, 32, 32, 3), 99, "uint8")
    >>> bool(ops.max(ops.abs(blur(image) - 99.0)) < 1e-3)
    True

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        factor: float = 0.5,
        kernel_size: int | None = None,
        sigma: tuple[float, float] = (0.1, 2.0),
        border: str = "renormalize",
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_probability("factor", factor)
        if kernel_size is not None:
            _check_kernel_size(kernel_size)
        check_choice("border", border, BORDERS)
        self.factor = factor
        self.kernel_size = kernel_size
        self.sigma = check_interval("sigma", sigma)
        self.border = border

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> Any:
        """Draw the standard deviation of each image, (N,); 0 if it is not blurred."""
        if not training:
            return None
        happens, position = self.uniform_per_image(batch_size, 2)
        return ops.where(happens < self.factor, between(position, *self.sigma), 0.0)

    def prepare(self, parameters: Any, input_shape: tuple) -> Any:
        """Return which images are blurred, (N,), and the filters; None for kernels of one pixel."""
        height, width = input_shape[1:3]
        check_static_size(self, height, width)
        radius = height // 20 if self.kernel_size is None else self.kernel_size // 2
        if radius == 0:
            return None
        distance = ops.arange(-radius, radius + 1, dtype="float32")
        variance = ops.expand_dims(ops.maximum(parameters, 1e-3) ** 2, 1)
        kernel = ops.exp(-(distance**2) / (2.0 * variance))
        kernel = kernel / ops.sum(kernel, axis=1, keepdims=True)
        normalized = self.border == "renormalize"
        rows = prepare_filter(kernel, height, normalized)
        columns = rows if height == width else prepare_filter(kernel, width, normalized)
        return parameters > 0, (rows, columns)

    def leave(self, planes: Any, prepared: Any) -> Any:
        """Blur along the rows and along the columns; return lines."""
        if prepared is None:
            return super().leave(planes, prepared)
        selected, filters = prepared
        channels, height, width = planes.shape[1:]

        def blurred(planes, filters):
            return filter_planes(planes, *filters)

        unchanged = functools.partial(super().leave, prepared=None)
        images = where_selected(selected, blurred, unchanged, planes, filters)
        # Not in the branches: XLA transposes several times slower if it also reshapes.
        return native.reshape(images, (-1, height, width * channels))

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {
            **super().get_config(),
            "factor": self.factor,
            "kernel_size": self.kernel_size,
            "sigma": self.sigma,
            "border": self.border,
        }


def _check_kernel_size(kernel_size):
    if not is_integer(kernel_size) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(
            "`kernel_size` must be a positive odd integer, or None for a tenth of the height. "
            f"Received: kernel_size={kernel_size!r}."
        )
