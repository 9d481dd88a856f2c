"""What the random transforms share: sample first, then apply."""

import math
import numbers

import keras
from keras import ops

from keras_simclr.training.execution import map_groups
from keras_simclr.training.views import derived_seed


@keras.saving.register_keras_serializable(package="keras_simclr")
class RandomTransform(keras.layers.Layer):
    """Base of the random transforms: `call` is `sample`, then `apply`.

    A transform says with `sample` what is random. What is computed goes in four steps, of which
    it replaces those that it needs. `prepare` computes from the parameters, for all pictures at
    once, what the other steps take in their place. These work on groups of pictures: `enter`
    takes pictures (N, H, W, C) to planes (N, C, H, W), `apply_to_planes` works on these, and
    `leave` takes them back. Pictures are in [0, 1] there, and float32 whatever the dtype policy.

    Args:
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        seed: Integer that makes the draws repeatable, or the `keras.random.SeedGenerator` of
            another layer to draw from. Defaults to a random one.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, value_range=(0, 255), seed=None, **kwargs):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.value_range = check_value_range(value_range)
        if isinstance(seed, keras.random.SeedGenerator):
            self.seed_generator = seed
            self.seed = seed.get_config()["seed"]
        else:
            # Far from its neighbours, since Keras adds the count of draws to a seed on PyTorch.
            spread = None if seed is None else derived_seed(seed)
            self.seed_generator = keras.random.SeedGenerator(spread)
            self.seed = seed

    def sample(self, batch_size, height, width, training=True):
        """Draw the parameters for pictures of `height` x `width`; None where nothing happens."""
        raise NotImplementedError

    def prepare(self, parameters, input_shape):
        """Compute what takes little room; a structure of tensors of shape (N, ...) and None."""
        return parameters

    def enter(self, images, prepared):
        """Take pictures (N, H, W, C) to planes (N, C, h, w)."""
        return ops.transpose(images, (0, 3, 1, 2))

    def apply_to_planes(self, planes, prepared):
        """Transform planes (N, C, H, W)."""
        return planes

    def leave(self, planes, prepared):
        """Take planes (N, C, H, W) to pictures (N, H, W, C)."""
        return ops.transpose(planes, (0, 2, 3, 1))

    def apply(self, images, parameters):
        """Transform pictures as `parameters`, which `sample` gave, say.

        Args:
            images: Pictures (N, H, W, C) in `value_range`, any integer or float dtype. They stay
                as they are.
            parameters: What `sample` returned for as many pictures.

        Returns:
            Pictures (N, h, w, C) in `value_range`, float32.

        Raises:
            ValueError: If there are no pictures.
        """
        if images.shape[0] == 0:
            raise ValueError(f"There must be pictures. Received: shape={tuple(images.shape)}.")
        if parameters is None:
            return ops.cast(images, "float32")

        def transform(group, prepared):
            planes = self.enter(to_unit_range(group, self.value_range), prepared)
            pictures = self.leave(self.apply_to_planes(planes, prepared), prepared)
            return from_unit_range(pictures, self.value_range)

        prepared = self.prepare(parameters, images.shape)
        shapes = (images.shape[1:], self.applied_shape(images.shape)[1:])
        return map_groups(transform, images, prepared, max(map(math.prod, shapes)))

    def call(self, images, training=True, parameters=None):
        """Draw, unless the parameters are given, and apply; without training nothing is random."""
        if parameters is None:
            batch_size, height, width, _ = ops.shape(images)
            parameters = self.sample(batch_size, height, width, training)
        return self.apply(images, parameters)

    def applied_shape(self, input_shape):
        """Return the shape of what `apply` gives."""
        return input_shape

    def compute_output_shape(self, input_shape):
        """Return the shape of the pictures that come out."""
        return self.applied_shape(input_shape)

    def uniform(self, shape, low=0.0, high=1.0):
        """Draw float32 numbers from [low, high)."""
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self.seed_generator)

    def happens(self, batch_size, probability):
        """Draw for each picture whether something happens, booleans of shape (N,)."""
        return self.uniform((batch_size,)) < probability

    def get_config(self):
        """Return what `from_config` takes."""
        return {**super().get_config(), "value_range": self.value_range, "seed": self.seed}


def to_unit_range(images, value_range):
    """Return pictures in `value_range` as float32 pictures in [0, 1]."""
    low, high = value_range
    images = ops.cast(images, "float32")
    return (images - low) * (1 / (high - low)) if low else images * (1 / high)


def from_unit_range(images, value_range):
    """Return pictures in [0, 1] as pictures in `value_range`."""
    low, high = value_range
    return images * (high - low) + low if low else images * high


def check_value_range(value_range):
    """Return (low, high), or raise a ValueError if they are no numbers or not in order."""
    if not is_pair(value_range) or not value_range[0] < value_range[1]:
        raise ValueError(
            f"`value_range` must be (low, high). Received: value_range={value_range!r}."
        )
    return tuple(value_range)


def check_number(name, value, least, most=math.inf):
    """Raise a ValueError unless `value` is a finite number from `least` to `most`."""
    if not is_number(value) or not least <= value <= most:
        bounds = f"lie in [{least}, {most}]" if most < math.inf else f"be a number from {least} on"
        raise ValueError(f"`{name}` must {bounds}. Received: {name}={value!r}.")


def check_probability(name, value):
    """Raise a ValueError unless `value` lies in [0, 1]."""
    check_number(name, value, 0, 1)


def is_pair(value):
    """Tell whether `value` is two finite numbers."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(is_number, value))


def is_number(value):
    """Tell whether `value` is a finite number."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and math.isfinite(value)


def per_picture(values):
    """Return values (N,) so that they multiply planes (N, C, H, W)."""
    return ops.reshape(values, (-1, 1, 1, 1))
