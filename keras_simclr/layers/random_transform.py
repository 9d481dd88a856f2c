"""Base class of the random transforms: sample first, then apply."""

import math
from typing import Any

import keras
from keras import ops

from keras_simclr.layers.image_layer import ImageLayer
from keras_simclr.ops.chunking import map_chunks, map_images
from keras_simclr.ops.native import native
from keras_simclr.ops.seeds import derive_seed, uniform


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomTransform(ImageLayer):
    """Base class of random transforms: `call` is `sample`, followed by `apply`.

    All random numbers are drawn in `sample`. `apply` has four steps; subclasses override those
    that they need. `prepare` converts the parameters of the whole batch for the other steps, which
    work on chunks of the batch: `enter` converts images (N, H, W, C) to planes (N, C, h, w),
    `apply_to_planes` transforms planes, and `leave` converts them back to images. Planes have
    values in [0, 1] and are float32, regardless of the dtype policy.

    Args:
        value_range: (lower, upper) of the images. Defaults to that of the model whose augmenter
            the layer belongs to, otherwise (0, 255).
        seed: Integer that makes the draws repeatable, or the `keras.random.SeedGenerator` of
            another layer to draw from. Defaults to a random one.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        value_range: tuple[float, float] | None = None,
        seed: int | keras.random.SeedGenerator | None = None,
        **kwargs: Any,
    ):
        super().__init__(value_range=value_range, **kwargs)
        if isinstance(seed, keras.random.SeedGenerator):
            self.seed_generator = seed
            self.seed = seed.get_config()["seed"]
        else:
            # Keeps neighboring seeds apart: on PyTorch, Keras adds the number of draws to a seed.
            derived = None if seed is None else derive_seed(seed)
            self.seed_generator = keras.random.SeedGenerator(derived)
            self.seed = seed

    @property
    def draws_when_called(self) -> bool:
        """Whether `call` draws random numbers even if it is given `parameters`."""
        return False

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> Any:
        """Draw the parameters for images of `height` x `width`; None if there is nothing to do."""
        raise NotImplementedError

    def prepare(self, parameters: Any, input_shape: tuple) -> Any:
        """Return the input of the other steps: a structure of tensors (N, ...) and None."""
        return parameters

    def enter(self, images: Any, prepared: Any) -> Any:
        """Convert images (N, H, W, C) in `value_range` to planes (N, C, h, w) in [0, 1]."""
        return native.moveaxis(self.to_unit_range(images), 3, 1)

    def apply_to_planes(self, planes: Any, prepared: Any) -> Any:
        """Transform planes (N, C, H, W), which may be overwritten."""
        return planes

    def leave(self, planes: Any, prepared: Any) -> Any:
        """Convert planes (N, C, H, W) to images (N, H, W, C), or to their lines (N, H, W * C)."""
        return native.moveaxis(planes, 1, 3)

    def apply(self, images: Any, parameters: Any) -> Any:
        """Transform images with the parameters that `sample` returned.

        Args:
            images: Images (N, H, W, C) in `value_range`, of any integer or float dtype. They are
                not changed.
            parameters: What `sample` returned for N images.

        Returns:
            Images (N, h, w, C) in `value_range`, float32.

        Raises:
            ValueError: If there are no images.
        """
        if images.shape[0] == 0:
            raise ValueError(
                f"There must be at least one image. Received: shape={tuple(images.shape)}."
            )
        if parameters is None:
            return ops.cast(images, "float32")

        prepared = self.prepare(parameters, images.shape)
        shape = self.applied_shape(images.shape)[1:]
        if None in images.shape[1:3]:
            views = self._apply_to_unknown_size(images, prepared)
        else:
            values_per_image = max(math.prod(images.shape[1:]), math.prod(shape))
            views = map_chunks(self._to_views, images, prepared, values_per_image)
        return views if None in shape else ops.reshape(views, (-1, *shape))

    def _apply_to_unknown_size(self, images, prepared):
        """Crop one image at a time, as chunks would be recompiled for every size."""
        planes = map_images(self.enter, images, prepared)
        if None in planes.shape[1:]:
            return map_images(self._to_images, planes, prepared)
        return map_chunks(self._to_images, planes, prepared, math.prod(planes.shape[1:]))

    def _to_views(self, images, prepared):
        return self._to_images(self.enter(images, prepared), prepared)

    def _to_images(self, planes, prepared):
        return self.from_unit_range(self.leave(self.apply_to_planes(planes, prepared), prepared))

    def call(self, images: Any, training: bool = True, parameters: Any = None) -> Any:
        """Draw the parameters, unless they are given, and apply them."""
        if parameters is None:
            batch_size, height, width, _ = ops.shape(images)
            parameters = self.sample(batch_size, height, width, training)
        return self.apply(images, parameters)

    def applied_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the result of `apply`."""
        return input_shape

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the output."""
        return self.applied_shape(input_shape)

    def uniform(self, shape: tuple) -> Any:
        """Draw float32 numbers from [0, 1)."""
        return uniform(shape, self.seed_generator)

    def uniform_per_image(self, batch_size: Any, count: int) -> list:
        """Draw `count` numbers from [0, 1) for each image; return as many tensors (N,)."""
        return ops.unstack(self.uniform((batch_size, count)), count, axis=1)

    def happens(self, batch_size: Any, probability: float) -> Any:
        """Draw for each image whether something happens, booleans of shape (N,)."""
        return self.uniform((batch_size,)) < probability

    def get_config(self) -> dict:
        """Return the config of the layer."""
        return {**super().get_config(), "seed": self.seed}


def per_image(values: Any) -> Any:
    """Reshape values (N,) so that they broadcast over planes (N, C, H, W)."""
    return native.reshape(values, (-1, 1, 1, 1))


def between(position: Any, lower: float, upper: float) -> Any:
    """Return the number at a position from [0, 1) between two limits."""
    return lower + (upper - lower) * position
