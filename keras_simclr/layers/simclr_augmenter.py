"""The papers' augmentation: crop, flip, colour jitter, grey, blur."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr.layers.presets import CIFAR, IMAGENET
from keras_simclr.layers.random_color_jitter import RandomColorJitter
from keras_simclr.layers.random_gaussian_blur import RandomGaussianBlur
from keras_simclr.layers.random_grayscale import RandomGrayscale
from keras_simclr.layers.random_resized_crop import RandomResizedCrop, check_size, size_pair
from keras_simclr.layers.random_transform import (
    RandomTransform,
    check_number,
    check_probability,
)
from keras_simclr.training.execution import clip

STRONGEST = 2.5  # turns the hue by half a circle
SMALL = 32  # pixels a side, up to which views get the papers' CIFAR augmentation


class View(NamedTuple):
    """Parameters of the four transforms."""

    crop: Any
    jitter: Any
    grayscale: Any
    blur: Any


@keras.saving.register_keras_serializable(package="keras_simclr")
class SimCLRAugmenter(RandomTransform):
    """Make a random view of each picture, as SimCLR does.

    A random box is resized and mirrored, its colours change, it may lose them, and may be
    blurred: `RandomResizedCrop`, `RandomColorJitter`, `RandomGrayscale`, `RandomGaussianBlur`,
    computed together. Views of at most 32 pixels a side have the papers' weaker colours and no
    blur. Pictures that do not have three channels keep to brightness, contrast and blur.
    `keras_simclr.layers.presets` has the arguments for some kinds of pictures.

    Args:
        image_size: (height, width) of the views, or an int. Defaults to that of the pictures.
        strength: Of the colour jitter: 0.8 times it for brightness, contrast and saturation, 0.2
            times it for the hue. Defaults to 0.5 for small views, otherwise 1.0.
        area: (least, most) share of the picture in the box. Defaults to (0.08, 1.0).
        aspect_ratio: (least, most) width / height of the box, times that of `image_size`.
            Defaults to (3/4, 4/3).
        horizontal_flip: Probability to mirror. Defaults to 0.5.
        jitter: Probability to change the colours. Defaults to 0.8.
        grayscale: Probability to become grey. Defaults to 0.2.
        blur: Probability to be blurred. Defaults to 0.0 for small views, otherwise 0.5.
        custom: List of Keras layers, such as `RandomSolarize`, `RandomQuarterTurn` or
            `keras.layers.RandomErasing`, that change the views last, in `value_range` (Keras'
            `GaussianNoise` is of use in (0, 1) only). They are part of a call, not of `sample`
            and `apply`. Defaults to none.
        value_range: (low, high) of pictures and views. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with pictures (N, H, W, C), of any integer or float dtype: views
        (N, *image_size, C), float32, clipped to `value_range`. With `training=False` the whole
        picture is resized, and nothing is random.

    Raises:
        ValueError: If an argument is out of its range or the pictures are too small.

    Example:
    >>> import numpy as np
    >>> augmenter = SimCLRAugmenter(image_size=32, seed=0)
    >>> tuple(augmenter(np.zeros((2, 48, 40, 3), "uint8")).shape)
    (2, 32, 32, 3)

    Source: Chen et al. 2020 (arXiv:2002.05709), appendix A; for CIFAR appendix B.9.
    """

    def __init__(
        self,
        image_size=None,
        strength=None,
        area=IMAGENET["area"],
        aspect_ratio=IMAGENET["aspect_ratio"],
        horizontal_flip=IMAGENET["horizontal_flip"],
        jitter=IMAGENET["jitter"],
        grayscale=IMAGENET["grayscale"],
        blur=None,
        custom=(),
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        if strength is not None:
            check_number("strength", strength, 0, STRONGEST)
        check_probability("jitter", jitter)
        check_probability("grayscale", grayscale)
        if blur is not None:
            check_probability("blur", blur)
        self.image_size = size_pair(image_size)
        self.strength = strength
        self.blur_probability = blur
        self.jitter_probability = jitter
        shared = {"seed": self.seed_generator}
        self.crop = RandomResizedCrop(image_size, area, aspect_ratio, horizontal_flip, **shared)
        self.grayscale = RandomGrayscale(grayscale, **shared)

        def jitter_of(strength):
            return RandomColorJitter(*(0.8 * strength,) * 3, 0.2 * strength, jitter, **shared)

        self.jitter = jitter_of(IMAGENET["strength"] if strength is None else strength)
        self.jitter_of_small = jitter_of(CIFAR["strength"]) if strength is None else self.jitter
        self.blur = RandomGaussianBlur(IMAGENET["blur"] if blur is None else blur, **shared)
        self.blur_of_small = (
            RandomGaussianBlur(CIFAR["blur"], **shared) if blur is None else self.blur
        )
        self.custom = _layers(custom)

    def build(self, input_shape):
        """Check the pictures, and whether `custom` can take the views."""
        check_size(input_shape)
        views = keras.KerasTensor(self.applied_shape(input_shape), "float32")
        for layer in self.custom:
            views = layer(views)

    def call(self, images, training=True, parameters=None):
        """Make the views, then let the layers of `custom` change them."""
        views = super().call(images, training, parameters)
        for layer in self.custom:
            views = layer(views)
        return ops.clip(ops.cast(views, "float32"), *self.value_range) if self.custom else views

    def sample(self, batch_size, height, width, training=True):
        """Draw a `View`; what never happens, or not outside of training, is None."""
        crop = self.crop.sample(batch_size, height, width, training)
        size = self.image_size or (height, width)
        small = is_small(*size)
        colours = (
            self.jitter_of_small if small else self.jitter,
            self.grayscale,
            self.blur_of_small if small else self.blur,
        )
        return View(
            crop,
            *(
                layer.sample(batch_size, *size, training) if layer.probability else None
                for layer in colours
            ),
        )

    def prepare(self, parameters, input_shape):
        """Prepare the crop and the blur."""
        crop = self.crop.prepare(parameters.crop, input_shape)
        blur = parameters.blur
        if blur is not None:
            blur = self.blur.prepare(blur, self.applied_shape(input_shape))
        return parameters._replace(crop=crop, blur=blur)

    def enter(self, images, prepared):
        """Crop."""
        return self.crop.enter(images, prepared.crop)

    def apply_to_planes(self, planes, prepared):
        """Change the colours."""
        if prepared.jitter is not None:
            planes = self.jitter.apply_to_planes(planes, prepared.jitter)
        if prepared.grayscale is not None:
            planes = self.grayscale.apply_to_planes(planes, prepared.grayscale)
        return planes

    def leave(self, planes, prepared):
        """Blur, and clip."""
        if prepared.blur is None:
            pictures = super().leave(planes, prepared)
        else:
            pictures = self.blur.leave(planes, prepared.blur)
        return clip(pictures, 0.0, 1.0)

    def applied_shape(self, input_shape):
        """Return (N, *image_size, C)."""
        return self.crop.applied_shape(input_shape)

    def compute_output_shape(self, input_shape):
        """Return (N, *image_size, C), or what the layers of `custom` make of it."""
        shape = self.applied_shape(input_shape)
        for layer in self.custom:
            shape = layer.compute_output_shape(shape)
        return shape

    def get_config(self):
        """Return what `from_config` takes."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "strength": self.strength,
            "area": self.crop.area,
            "aspect_ratio": self.crop.aspect_ratio,
            "horizontal_flip": self.crop.horizontal_flip,
            "jitter": self.jitter_probability,
            "grayscale": self.grayscale.probability,
            "blur": self.blur_probability,
            "custom": [keras.saving.serialize_keras_object(layer) for layer in self.custom],
        }

    @classmethod
    def from_config(cls, config):
        """Make the layer that `get_config` described."""
        custom = [keras.saving.deserialize_keras_object(layer) for layer in config["custom"]]
        return cls(**{**config, "custom": custom})


def _layers(custom):
    layers = list(custom) if isinstance(custom, (tuple, list)) else [custom]
    if not all(isinstance(layer, keras.layers.Layer) for layer in layers):
        raise ValueError(f"`custom` must be a list of Keras layers. Received: custom={custom!r}.")
    return layers


def is_small(height, width):
    """Tell whether views are as small as CIFAR's, so that the papers' recipe for those holds."""
    return max(height, width) <= SMALL
