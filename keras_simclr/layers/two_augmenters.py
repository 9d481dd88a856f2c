"""Two augmenters, one for each of the two views."""

from typing import Any

import keras
from keras import ops

from keras_simclr.layers.views import seed_states, takes_parameters


@keras.saving.register_keras_serializable(package="keras_simclr")
class TwoAugmenters(keras.layers.Layer):
    """Create the first views with one augmenter and the second views with another.

    `SimCLR(augmenter=(first, second))` creates it.

    Args:
        first: Any Keras layer from images to images.
        second: Another one, with a different seed and views of the same size.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (2N, H, W, C): N images for the first views, then N for the second views.

    Output shape:
        (2N, h, w, C): N first views, then N second views.

    Raises:
        ValueError: If both have the same seed, or their views differ in size.

    Example:
    >>> import numpy as np
    >>> from keras_simclr import SimCLRAugmenter
    >>> augmenter = TwoAugmenters(SimCLRAugmenter(seed=0), SimCLRAugmenter(blur=1.0, seed=1))
    >>> tuple(augmenter(np.zeros((4, 32, 32, 3), "uint8")).shape)
    (4, 32, 32, 3)

    References:
        Grill et al. 2020 (arXiv:2006.07733), appendix B, with different transforms for the two
        views.
    """

    def __init__(self, first: keras.layers.Layer, second: keras.layers.Layer, **kwargs: Any):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.first = first
        self.second = second
        if first is not second and _seeds(first) & _seeds(second):
            raise ValueError(
                "The augmenters of the two views must not have the same seed, or both draw the "
                f"same numbers. Received: {first.name!r} and {second.name!r} with the same seed. "
                "Pass a different `seed` to each, or none."
            )

    def build(self, input_shape: tuple) -> None:
        """Check that the views of both have the same size."""
        images = keras.KerasTensor(input_shape, "float32")
        shapes = [tuple(layer(images).shape) for layer in (self.first, self.second)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "The augmenters of the two views must create views of the same size. Received: "
                f"{shapes[0]} and {shapes[1]}. Pass the same `image_size` to both."
            )

    def sample(self, batch_size: Any, height: Any, width: Any, training: bool = True) -> tuple:
        """Draw the parameters of both; None for a layer that draws when it is called."""
        drawn = (
            layer.sample(batch_size // 2, height, width, training)
            if takes_parameters(layer)
            else None
            for layer in (self.first, self.second)
        )
        return tuple(drawn)

    def call(
        self,
        images: Any,
        training: bool = True,
        parameters: tuple = (None, None),
        num_devices: int = 1,
    ) -> Any:
        """Create the views; each device has the images of its first views, then of its second."""
        shape = ops.shape(images)[1:]
        halves = ops.reshape(images, (num_devices, 2, -1, *shape))
        views = []
        for half, layer in enumerate((self.first, self.second)):
            given = {} if parameters[half] is None else {"parameters": parameters[half]}
            created = layer(ops.reshape(halves[:, half], (-1, *shape)), **given)
            views.append(ops.reshape(created, (num_devices, -1, *ops.shape(created)[1:])))
        return ops.reshape(ops.concatenate(views, axis=1), (-1, *ops.shape(views[0])[2:]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the views."""
        return self.first.compute_output_shape(input_shape)

    def get_config(self) -> dict:
        """Return the config of the layer."""
        parts = {"first": self.first, "second": self.second}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict) -> "TwoAugmenters":
        """Create the layer from its config."""
        parts = ("first", "second")
        restored = {name: keras.saving.deserialize_keras_object(config[name]) for name in parts}
        return cls(**{**config, **restored})


def _seeds(layer):
    return {int(ops.convert_to_numpy(state)[0]) for state in seed_states(layer)}
