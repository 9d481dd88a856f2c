"""Two augmenters, one for each of the two views."""

import keras
from keras import ops

from keras_simclr.training.views import seed_states, takes_parameters


@keras.saving.register_keras_serializable(package="keras_simclr")
class TwoAugmenters(keras.layers.Layer):
    """Make the first views with one augmenter and the second views with another.

    `SimCLR(augmenter=(first, second))` makes it.

    Args:
        first: Any Keras layer from pictures to pictures.
        second: Another one, with a seed of its own and views of the same size.
        **kwargs: Arguments of `keras.layers.Layer`.

    Returns:
        When called with 2N pictures, [N for the first views; N for the second]: their 2N views.

    Raises:
        ValueError: If both would draw the same numbers, or their views differ in size.

    Example:
    >>> import numpy as np
    >>> from keras_simclr import SimCLRAugmenter
    >>> augmenter = TwoAugmenters(SimCLRAugmenter(seed=0), SimCLRAugmenter(blur=1.0, seed=1))
    >>> tuple(augmenter(np.zeros((4, 32, 32, 3), "uint8")).shape)
    (4, 32, 32, 3)

    Source: Grill et al. 2020 (arXiv:2006.07733), appendix B, whose two views differ so.
    """

    def __init__(self, first, second, **kwargs):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.first = first
        self.second = second
        if first is not second and _seeds(first) & _seeds(second):
            raise ValueError(
                "The augmenters of the two views have the same seed, so that both would draw the "
                "same numbers. Give each its own `seed`, or none."
            )

    def build(self, input_shape):
        """Check that both make views of one size."""
        images = keras.KerasTensor(input_shape, "float32")
        shapes = [tuple(layer(images).shape) for layer in (self.first, self.second)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "The augmenters of the two views must make views of one size. Received: "
                f"{shapes[0]} and {shapes[1]}."
            )

    def sample(self, batch_size, height, width, training=True):
        """Draw for both what they can be given; None where a layer draws when it is called."""
        drawn = (
            layer.sample(batch_size // 2, height, width, training)
            if takes_parameters(layer)
            else None
            for layer in (self.first, self.second)
        )
        return tuple(drawn)

    def call(self, images, training=True, parameters=(None, None), blocks=1):
        """Make both kinds of views; each of `blocks` is [all first; all second]."""
        shape = images.shape[1:]
        halves = ops.reshape(images, (blocks, 2, -1, *shape))
        views = []
        for half, layer in enumerate((self.first, self.second)):
            given = {} if parameters[half] is None else {"parameters": parameters[half]}
            made = layer(ops.reshape(halves[:, half], (-1, *shape)), **given)
            views.append(ops.reshape(made, (blocks, -1, *made.shape[1:])))
        return ops.reshape(ops.concatenate(views, axis=1), (-1, *views[0].shape[2:]))

    def compute_output_shape(self, input_shape):
        """Return the shape of the views."""
        return self.first.compute_output_shape(input_shape)

    def get_config(self):
        """Return what `from_config` takes."""
        parts = {"first": self.first, "second": self.second}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config):
        """Make the layer that `get_config` described."""
        parts = ("first", "second")
        restored = {name: keras.saving.deserialize_keras_object(config[name]) for name in parts}
        return cls(**{**config, **restored})


def _seeds(layer):
    return {int(ops.convert_to_numpy(state)[0]) for state in seed_states(layer)}
