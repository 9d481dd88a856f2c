"""The papers' augmentation: crop, flip, color distortion, grayscale, blur."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_simclr.layers.image_layer import check_static_size, inherit_value_range
from keras_simclr.layers.presets import CIFAR, IMAGENET
from keras_simclr.layers.random_color_distortion import RandomColorDistortion
from keras_simclr.layers.random_gaussian_blur import RandomGaussianBlur
from keras_simclr.layers.random_grayscale import RandomGrayscale
from keras_simclr.layers.random_resized_crop import RandomResizedCrop, check_covered, check_min_size
from keras_simclr.layers.random_transform import RandomTransform
from keras_simclr.ops.in_place import clip_
from keras_simclr.validation import check_number, check_probability
from keras_simclr.view_size import is_small_view

MAX_STRENGTH = 2.5  # shifts the hue by half of the color circle


class View(NamedTuple):
    """Parameters of the four transforms."""

    crop: Any
    color_distortion: Any
    grayscale: Any
    blur: Any


@keras.saving.register_keras_serializable(package="keras_simclr")
class SimCLRAugmenter(RandomTransform):
    """Create a random view of each image, as SimCLR does.

    It applies `RandomResizedCrop`, `RandomColorDistortion`, `RandomGrayscale` and
    `RandomGaussianBlur`, computed together. Views of at most 32 pixels get the papers' settings
    for CIFAR: weaker color distortion and no blur. Images that do not have three channels only
    change in brightness, contrast and blur. `keras_simclr.layers.presets` has the arguments for
    some kinds of images.

    Args:
        image_size: (height, width) of the views, or an int. Defaults to the model's, otherwise
            that of the images.
        strength: Strength of the color distortion: the factors of brightness, contrast and
            saturation are 0.8 times it, that of the hue 0.2 times it. Defaults to 0.5 for small
            views, otherwise 1.0.
        scale: (lower, upper) area of the box, as a fraction of the image's. Defaults to
            (0.08, 1.0).
        aspect_ratio: (lower, upper) width / height of the box, relative to that of `image_size`.
            Defaults to (3/4, 4/3).
        horizontal_flip: Probability of a horizontal flip. Defaults to 0.5.
        color_distortion: Probability of a color distortion. Defaults to 0.8.
        grayscale: Probability of a conversion to grayscale. Defaults to 0.2.
        blur: Probability of a blur. Defaults to 0.0 for small views, otherwise 0.5.
        custom: List of Keras layers, such as `RandomSolarize`, `RandomRotate90` or
            `keras.layers.RandomErasing`, that are applied to the views last, in `value_range`
            (Keras' `GaussianNoise` is useful only in (0, 1)). They are applied by `call`, not by
            `apply`. Defaults to none.
        value_range: (lower, upper) of images and views. Defaults to that of the model whose
            augmenter the layer is, otherwise (0, 255).
        seed: Integer that makes the draws repeatable.
        min_object_covered: Lower bound of the area of the box, in addition to `scale`, as in
            `RandomResizedCrop`. Lower it for small crops only. Defaults to 0.1.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (N, H, W, C), any integer or float dtype. On TensorFlow, H and W may be unknown if
        `image_size` is given.

    Output shape:
        (N, *image_size, C), float32, clipped to `value_range`. With `training=False` the whole
        image is resized, and nothing is random.

    Raises:
        ValueError: If an argument is out of its range, or the images are too small or of unknown
            size.

    Example:
    >>> import numpy as np
    >>> augmenter = SimCLRAugmenter(image_size=32, seed=0)
    >>> tuple(augmenter(np.zeros((2, 48, 40, 3), "uint8")).shape)
    (2, 32, 32, 3)

    References:
        Chen et al. 2020 (arXiv:2002.05709), appendix A; for CIFAR appendix B.9.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int] | None = None,
        strength: float | None = None,
        scale: tuple[float, float] = IMAGENET["scale"],
        aspect_ratio: tuple[float, float] = IMAGENET["aspect_ratio"],
        horizontal_flip: float = IMAGENET["horizontal_flip"],
        color_distortion: float = IMAGENET["color_distortion"],
        grayscale: float = IMAGENET["grayscale"],
        blur: float | None = None,
        custom: Any = (),
        value_range: tuple[float, float] | None = None,
        seed: int | None = None,
        min_object_covered: float = 0.1,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, seed=seed, **kwargs)
        if strength is not None:
            check_number("strength", strength, 0, MAX_STRENGTH)
        check_probability("color_distortion", color_distortion)
        check_probability("grayscale", grayscale)
        if blur is not None:
            check_probability("blur", blur)
        self.strength = strength
        self.blur_factor = blur
        shared: Any = {"seed": self.seed_generator, "value_range": value_range}
        self.crop = RandomResizedCrop(
            image_size, scale, aspect_ratio, horizontal_flip, min_object_covered, **shared
        )
        self.grayscale = RandomGrayscale(grayscale, **shared)

        def distortion(strength):
            factors = (0.8 * strength,) * 3 + (0.2 * strength,)
            return RandomColorDistortion(*factors, color_distortion, **shared)

        self.color_distortion = distortion(IMAGENET["strength"] if strength is None else strength)
        self.small_color_distortion = (
            distortion(CIFAR["strength"]) if strength is None else self.color_distortion
        )
        self.blur = RandomGaussianBlur(IMAGENET["blur"] if blur is None else blur, **shared)
        self.small_blur = RandomGaussianBlur(CIFAR["blur"], **shared) if blur is None else self.blur
        self.custom = _as_layers(custom)
        if value_range is not None:
            for layer in self.custom:
                inherit_value_range(layer, self.value_range)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of the views, or None for that of the images."""
        return self.crop.image_size

    @image_size.setter
    def image_size(self, image_size):
        self.crop.image_size = image_size

    @property
    def scale(self) -> tuple[float, float]:
        """(lower, upper) area of the box, as a fraction of the image's."""
        return self.crop.scale

    @scale.setter
    def scale(self, scale):
        check_covered(self.crop.min_object_covered, scale)
        self.crop.scale = scale

    @property
    def draws_when_called(self) -> bool:
        """Whether the layers of `custom` may draw random numbers in `call`."""
        return bool(self.custom)

    def build(self, input_shape: tuple) -> None:
        """Check the size of the images, and whether `custom` can be applied to the views."""
        check_min_size(input_shape)
        views = keras.KerasTensor(self.applied_shape(input_shape), "float32")
        for layer in self.custom:
            views = layer(views)

    def call(self, images: Any, training: bool = True, parameters: Any = None) -> Any:
        """Create the views, then apply the layers of `custom`."""
        views = super().call(images, training, parameters)
        for layer in self.custom:
            views = layer(views)
        return ops.clip(ops.cast(views, "float32"), *self.value_range) if self.custom else views

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> View:
        """Draw a `View`; None for a transform that never happens, or only in training."""
        height_out, width_out = self.image_size or (height, width)
        check_static_size(self, height_out, width_out)
        small = is_small_view(height_out, width_out)
        crop = self.crop.sample(batch_size, height, width, training)
        others = (
            self.small_color_distortion if small else self.color_distortion,
            self.grayscale,
            self.small_blur if small else self.blur,
        )
        return View(
            crop,
            *(
                layer.sample(batch_size, height_out, width_out, training) if layer.factor else None
                for layer in others
            ),
        )

    def prepare(self, parameters: View, input_shape: tuple) -> Any:
        """Prepare the crop, the color distortion and the blur."""
        crop, color_distortion, _, blur = parameters
        crop = self.crop.prepare(crop, input_shape)
        shape = self.applied_shape(input_shape)
        if color_distortion is not None:
            color_distortion = self.color_distortion.prepare(color_distortion, shape)
        if blur is not None:
            blur = self.blur.prepare(blur, shape)
        return parameters._replace(crop=crop, color_distortion=color_distortion, blur=blur)

    def enter(self, images: Any, prepared: View) -> Any:
        """Crop."""
        return self.crop.enter(images, prepared.crop)

    def apply_to_planes(self, planes: Any, prepared: View) -> Any:
        """Distort the colors and convert to grayscale."""
        if prepared.color_distortion is not None:
            planes = self.color_distortion.apply_to_planes(planes, prepared.color_distortion)
        if prepared.grayscale is not None:
            planes = self.grayscale.apply_to_planes(planes, prepared.grayscale)
        return planes

    def leave(self, planes: Any, prepared: View) -> Any:
        """Blur and clip."""
        if prepared.blur is None:
            images = super().leave(planes, prepared)
        else:
            images = self.blur.leave(planes, prepared.blur)
        return clip_(images, 0.0, 1.0)

    def applied_shape(self, input_shape: tuple) -> tuple:
        """Return (N, *image_size, C)."""
        return self.crop.applied_shape(input_shape)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return (N, *image_size, C), unless the layers of `custom` change it."""
        shape = self.applied_shape(input_shape)
        for layer in self.custom:
            shape = layer.compute_output_shape(shape)
        return shape

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "strength": self.strength,
            "scale": self.crop.scale,
            "aspect_ratio": self.crop.aspect_ratio,
            "horizontal_flip": self.crop.horizontal_flip,
            "color_distortion": self.color_distortion.factor,
            "grayscale": self.grayscale.factor,
            "blur": self.blur_factor,
            "min_object_covered": self.crop.min_object_covered,
            "custom": [keras.saving.serialize_keras_object(layer) for layer in self.custom],
        }

    @classmethod
    def from_config(cls, config: dict) -> "SimCLRAugmenter":
        """Create the layer from its config."""
        custom = [keras.saving.deserialize_keras_object(layer) for layer in config["custom"]]
        return cls(**{**config, "custom": custom})


def _as_layers(custom):
    layers = list(custom) if isinstance(custom, (tuple, list)) else [custom]
    if not all(isinstance(layer, keras.layers.Layer) for layer in layers):
        raise ValueError(f"`custom` must be a list of Keras layers. Received: custom={custom!r}.")
    return layers
