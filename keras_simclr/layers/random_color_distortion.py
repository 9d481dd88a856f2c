"""Random brightness, contrast, saturation and hue, in random order."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr.layers.random_transform import RandomTransform, between, per_image
from keras_simclr.ops.branching import apply_if_needed, apply_in_order
from keras_simclr.ops.in_place import (
    abs_,
    add_over_,
    add_product_,
    channel_means,
    clip,
    clip_,
    copy_sign_,
    interpolate_,
    maximum_,
    minimum_,
    multiply_,
)
from keras_simclr.ops.native import native
from keras_simclr.ops.orders import IMAGES_PER_ORDER
from keras_simclr.validation import check_number, check_probability

TINY, LARGE = 1e-12, 1e6
STEPS = 4


class ColorDistortion(NamedTuple):
    """Factors and hue shift of each image, (N,), and the order of its steps, (N, 4).

    Every 16 consecutive images have the same order.
    """

    brightness: Any
    contrast: Any
    saturation: Any
    hue: Any
    order: Any


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomColorDistortion(RandomTransform):
    """Randomly change brightness, contrast, saturation and hue, in random order.

    Values are clipped to the value range after each step, and in images that do not change. Every
    image has its own factors; every 16 consecutive images have the same order of the steps, which
    makes the layer fast. Images that do not have three channels only change in brightness and
    contrast.

    Args:
        brightness_factor: Float b. Images are multiplied by a factor from
            U(max(1 - b, 0), 1 + b). Defaults to 0.8.
        contrast_factor: Float c. Differences from each channel's mean are multiplied by a factor
            from U(max(1 - c, 0), 1 + c). Defaults to 0.8.
        saturation_factor: Float s. The HSV saturation is multiplied by a factor from
            U(max(1 - s, 0), 1 + s). Defaults to 0.8.
        hue_factor: Float h, in [0, 0.5]. The hue is shifted by U(-h, h) of the color circle.
            Defaults to 0.2.
        factor: Probability that an image is changed at all. Defaults to 0.8.
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype.

    Output shape:
        (N, H, W, C), float32. With `training=False` the values do not change.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
    >>> import numpy as np
    >>> layer = RandomColorDistortion(seed=0)
    >>> tuple(layer(np.zeros((2, 32, 32, 3), "uint8")).shape)
    (2, 32, 32, 3)

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        brightness_factor: float = 0.8,
        contrast_factor: float = 0.8,
        saturation_factor: float = 0.8,
        hue_factor: float = 0.2,
        factor: float = 0.8,
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_number("brightness_factor", brightness_factor, 0)
        check_number("contrast_factor", contrast_factor, 0)
        check_number("saturation_factor", saturation_factor, 0)
        check_number("hue_factor", hue_factor, 0, 0.5)
        check_probability("factor", factor)
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        self.factor = factor

    def sample(
        self, batch_size: Any, height: Any, width: Any, training: bool = True
    ) -> ColorDistortion | None:
        """Draw a `ColorDistortion`; unchanged images have factors of 1 and no shift."""
        if not training:
            return None
        happens, *positions, hue = self.uniform_per_image(batch_size, 5)
        changed = happens < self.factor
        strengths = self.brightness_factor, self.contrast_factor, self.saturation_factor
        brightness, contrast, saturation = (
            ops.where(changed, between(position, max(1.0 - strength, 0.0), 1.0 + strength), 1.0)
            for position, strength in zip(positions, strengths, strict=True)
        )
        hue = ops.where(changed, between(hue, -self.hue_factor, self.hue_factor), 0.0)
        groups = (batch_size + IMAGES_PER_ORDER - 1) // IMAGES_PER_ORDER
        order = ops.cast(ops.argsort(self.uniform((groups, STEPS)), axis=1), "int32")
        order = ops.repeat(order, IMAGES_PER_ORDER, axis=0)[:batch_size]
        return ColorDistortion(brightness, contrast, saturation, hue, order)

    def prepare(self, parameters: ColorDistortion, input_shape: tuple) -> Any:
        """Return which images change, and the parameters, with a hue (N, 3) as `_hue` needs it."""
        brightness, contrast, saturation, hue, _ = parameters
        same = (brightness == 1.0) & (contrast == 1.0) & (saturation == 1.0) & (hue == 0.0)
        turns = ops.stack([hue, hue - 1 / 3, hue + 1 / 3], axis=1)
        turns = turns - ops.round(turns)
        return ops.logical_not(same), parameters._replace(hue=6.0 * turns)

    def apply_to_planes(self, planes: Any, prepared: Any) -> Any:
        """Apply the four steps in the order drawn for these images."""
        changed, drawn = prepared
        steps = [_brightness, _contrast]
        if planes.shape[1] == 3:
            steps += [_saturation, _hue]
        else:
            steps += [_identity, _identity]

        def distorted(planes, drawn):
            return apply_in_order(drawn.order, steps, planes, drawn)

        return apply_if_needed(changed, distorted, _clipped, planes, drawn)

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {
            **super().get_config(),
            "brightness_factor": self.brightness_factor,
            "contrast_factor": self.contrast_factor,
            "saturation_factor": self.saturation_factor,
            "hue_factor": self.hue_factor,
            "factor": self.factor,
        }


def _clipped(planes):
    return clip_(planes, 0.0, 1.0)


# On PyTorch, each operation is a pass over the images, and one in place is several times faster.


def _brightness(planes, drawn):
    return _clipped(multiply_(planes, per_image(drawn.brightness)))


def _contrast(planes, drawn):
    factor = per_image(drawn.contrast)
    mean = channel_means(planes)
    planes = multiply_(planes, factor)
    planes += mean * (1.0 - factor)
    return _clipped(planes)


def _saturation(planes, drawn):
    """Scale the saturation s = C / V of HSV, with V the largest channel and m = V - C the smallest.

    With the new saturation clip(s f, 0, 1), a channel x becomes V - (V - x) clip(s f, 0, 1) / s,
    and clip(s f, 0, 1) / s = min(f, 1 / s). If f = 1, nothing changes, even where m < 0, so s > 1.
    """
    value, smallest = _extremes(*_channels(planes))
    chroma = clip_(value - smallest, TINY)
    lower = per_image(ops.cast(drawn.saturation == 1.0, "float32") * LARGE)
    factor = native.maximum(value, lower)
    factor /= chroma
    factor = minimum_(factor, per_image(drawn.saturation))
    return _clipped(interpolate_(value, planes, factor))


def _hue(planes, drawn):
    """Shift the hue; `drawn.hue` has the shift of each channel in sixths of the circle, (N, 3).

    With V the largest channel, m the smallest and C = V - m, the distance of the hue from red is
    1 + (G + B - R - m) / C sixths of the circle, towards blue if B > G. The shift of a channel
    moves its own color to the place of red. At a distance of d sixths from there, up to six as it
    may be the long way around, the channel is m + C (t - 1) with t = clip(|d - 3|, 1, 2), computed
    as (m - C) + C t. No comparisons: they are slow on PyTorch.
    """
    red, green, blue = _channels(planes)
    chroma, smallest = _extremes(red, green, blue)
    chroma -= smallest
    distance = green + blue
    distance -= red
    distance -= smallest
    distance /= clip(chroma, TINY)
    distance += 1.0
    hue = copy_sign_(distance, green - blue)  # in [-3, 3]
    smallest -= chroma
    shifts = native.reshape(drawn.hue, (-1, 3, 1, 1))  # in [-3, 3]
    distances = abs_(add_over_(hue, shifts, planes))
    distances -= 3.0
    t = clip_(abs_(distances), 1.0, 2.0)
    return _clipped(add_product_(smallest, t, chroma))


def _channels(planes):
    return (planes[:, channel : channel + 1] for channel in range(3))


def _extremes(red, green, blue):
    """Return the largest and the smallest channel."""
    return (
        maximum_(native.maximum(red, green), blue),
        minimum_(native.minimum(red, green), blue),
    )


def _identity(planes, drawn):
    return planes
