"""Two augmenters, one for the first view of an image and one for the others."""

from typing import Any

import keras
from keras import ops

from keras_simclr.layers.views import seed_states, takes_parameters


@keras.saving.register_keras_serializable(package="keras_simclr")
class TwoAugmenters(keras.layers.Layer):
    """Create the first views with one augmenter and all others with another.

    `SimCLR(augmenter=(first, second))` creates it.

    Args:
        first: Any Keras layer from images to images.
        second: Another one, with a different seed and views of the same size.
        num_views: Views of each image, at least 2. Defaults to 2.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        (K N, H, W, C): N images for the first views, then N for the second views, and so on.

    Output shape:
        (K N, h, w, C): N first views, then N second views, and so on.

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

    def __init__(
        self,
        first: keras.layers.Layer,
        second: keras.layers.Layer,
        num_views: int = 2,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.num_views = num_views
        self.first = first
        self.second = second
        if first is not second and _seeds(first) & _seeds(second):
            raise ValueError(
                "The augmenters of the two views must not have the same seed, or both draw the "
                f"same numbers. Received: {first.name!r} and {second.name!r} with the same seed. "
                "Pass a different `seed` to each, or none."
            )

    @property
    def draws_when_called(self) -> bool:
        """Whether one of the augmenters draws random numbers in `call`."""
        return any(getattr(one, "draws_when_called", True) for one in (self.first, self.second))

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
        count = batch_size // self.num_views
        drawn = (
            layer.sample(number * count, height, width, training)
            if takes_parameters(layer)
            else None
            for layer, number in ((self.first, 1), (self.second, self.num_views - 1))
        )
        return tuple(drawn)

    def call(
        self,
        images: Any,
        training: bool = True,
        parameters: tuple = (None, None),
        num_devices: int = 1,
    ) -> Any:
        """Create the views; each device has the images of its first views, then of the others."""
        shape = ops.shape(images)[1:]
        by_view = ops.reshape(images, (num_devices, self.num_views, -1, *shape))
        parts = ((self.first, by_view[:, :1]), (self.second, by_view[:, 1:]))
        views = []
        for (layer, part), drawn in zip(parts, parameters, strict=True):
            given = {} if drawn is None else {"parameters": drawn}
            created = layer(ops.reshape(part, (-1, *shape)), **given)
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
            "num_views": self.num_views,
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


def as_layer(augmenter: Any, num_views: int) -> Any:
    """Return an augmenter as a layer, given as one, as None or as a pair of layers."""
    if isinstance(augmenter, (tuple, list)) and len(augmenter) == 2:
        first, second = augmenter
        return TwoAugmenters(first, second, num_views=num_views)
    fits = getattr(augmenter, "num_views", num_views) == num_views
    if isinstance(augmenter, (tuple, list)) or not fits:
        raise ValueError(
            "`augmenter` must be a layer or a pair of layers, and create `num_views` views. "
            f"Received: {augmenter!r} with num_views={num_views}. Pass a pair: the model creates "
            "a `TwoAugmenters` from it."
        )
    return augmenter
