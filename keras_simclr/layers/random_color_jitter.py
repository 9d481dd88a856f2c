"""Brightness, contrast, saturation and hue, changed at random and in random order."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr.layers.random_transform import (
    RandomTransform,
    check_number,
    check_probability,
    per_picture,
)
from keras_simclr.training.execution import GROUP, clip, in_turn

TINY, HUGE = 1e-12, 1e30
STEPS = 4


class Jitter(NamedTuple):
    """Factors and hue shift of each picture, (N,), and the order of its steps, (N, 4).

    Each 16 pictures in a row have one order.
    """

    brightness: Any
    contrast: Any
    saturation: Any
    hue: Any
    order: Any


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomColorJitter(RandomTransform):
    """Change brightness, contrast, saturation and hue of pictures in random order.

    Each step is followed by clipping to the value range. Every picture has its own factors;
    the order of the steps is drawn anew for each 16 pictures in a row, which is what makes it
    fast. Pictures that do not have three channels keep to brightness and contrast.

    Args:
        brightness: Strength b: the picture times a factor from U(max(1 - b, 0), 1 + b). Defaults
            to 0.8.
        contrast: Strength c: distances from each channel's mean times U(max(1 - c, 0), 1 + c).
            Defaults to 0.8.
        saturation: Strength s: the saturation of HSV times U(max(1 - s, 0), 1 + s). Defaults to
            0.8.
        hue: Strength in turns of the colour circle: the hue plus U(-hue, hue). Defaults to 0.2.
        probability: Share of pictures that are changed at all. Defaults to 0.8.
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C): as many of the same size, float32. With
        `training=False` they are as they were.

    Raises:
        ValueError: If a strength is negative, `hue` is above 0.5 or `probability` outside [0, 1].

    Example:
    >>> import numpy as np
    >>> jitter = RandomColorJitter(seed=0)
    >>> tuple(jitter(np.zeros((2, 32, 32, 3), "uint8")).shape)
    (2, 32, 32, 3)

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix A.
    """

    def __init__(
        self,
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
        probability=0.8,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        check_number("brightness", brightness, 0)
        check_number("contrast", contrast, 0)
        check_number("saturation", saturation, 0)
        check_number("hue", hue, 0, 0.5)
        check_probability("probability", probability)
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.probability = probability

    def sample(self, batch_size, height, width, training=True):
        """Draw a `Jitter`; pictures that are left alone have the factors 1 and the shift 0."""
        if not training:
            return None
        changed = self.happens(batch_size, self.probability)

        def factor(strength):
            drawn = self.uniform((batch_size,), max(1.0 - strength, 0.0), 1.0 + strength)
            return ops.where(changed, drawn, 1.0)

        brightness, contrast, saturation = map(
            factor, (self.brightness, self.contrast, self.saturation)
        )
        hue = ops.where(changed, self.uniform((batch_size,), -self.hue, self.hue), 0.0)
        groups = (batch_size + GROUP - 1) // GROUP
        order = ops.cast(ops.argsort(self.uniform((groups, STEPS)), axis=1), "int32")
        order = ops.repeat(order, GROUP, axis=0)[:batch_size]
        return Jitter(brightness, contrast, saturation, hue, order)

    def apply_to_planes(self, planes, prepared):
        """Take the four steps in the order of the group."""
        steps = [_brightness, _contrast]
        if planes.shape[1] == 3:
            steps += [_saturation, _hue]
        else:
            steps += [_nothing, _nothing]
        return in_turn(prepared.order, steps, planes, prepared)

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
            "probability": self.probability,
        }


def _brightness(planes, jitter):
    return clip(planes * per_picture(jitter.brightness), 0.0, 1.0)


def _contrast(planes, jitter):
    factor = per_picture(jitter.contrast)
    mean = ops.mean(planes, axis=(2, 3), keepdims=True)
    return clip(planes * factor + mean * (1.0 - factor), 0.0, 1.0)


def _saturation(planes, jitter):
    """Scale the saturation s = C / V of HSV, with V the largest channel and V - C the smallest.

    With the new saturation clip(s f, 0, 1), a channel x becomes V - (V - x) clip(s f, 0, 1) / s,
    and clip(s f, 0, 1) / s = min(f, 1 / s).
    """
    value = ops.max(planes, axis=1, keepdims=True)
    chroma = value - ops.min(planes, axis=1, keepdims=True)
    factor = ops.minimum(per_picture(jitter.saturation), clip(value, 0.0) / clip(chroma, TINY))
    return clip(planes * factor + value * (1.0 - factor), 0.0, 1.0)


def _hue(planes, jitter):
    """Turn the hue by a share of the colour circle.

    With V the largest channel, m the smallest and C = V - m, the distance of the hue from red is
    1 + (G + B - R - m) / C sixths of the circle, towards blue if B > G. With the hue h in sixths,
    a channel of HSV is m + C t, where t is |h - 3| - 1 for red, 2 - |h - 2| for green and
    2 - |h - 4| for blue, clipped to [0, 1]. No comparison: they are slow on PyTorch.
    """
    red, green, blue = (planes[:, channel : channel + 1] for channel in range(3))
    least = ops.minimum(ops.minimum(red, green), blue)
    chroma = ops.maximum(ops.maximum(red, green), blue) - least
    distance = 1.0 + (green + blue - red - least) / clip(chroma, TINY)
    towards_green = clip((green - blue) * HUGE + 1.0, -1.0, 1.0)
    turned = towards_green * distance * (1 / 6) + per_picture(jitter.hue)
    sixths = 6.0 * (turned - ops.floor(turned))
    shares = [
        clip(abs(sixths - 3.0), 1.0, 2.0) - 1.0,
        2.0 - clip(abs(sixths - 2.0), 1.0, 2.0),
        2.0 - clip(abs(sixths - 4.0), 1.0, 2.0),
    ]
    turned = ops.concatenate([least + chroma * share for share in shares], axis=1)
    return clip(turned, 0.0, 1.0)


def _nothing(planes, jitter):
    return planes
