"""The projection head: h -> z."""

from typing import Any

import keras
from keras import layers

from keras_simclr.validation import check_positive_integer

MIN_HIDDEN_DIM = 512  # the width of h of ResNet-18


@keras.saving.register_keras_serializable(package="keras_simclr")
class ProjectionHead(keras.layers.Layer):
    """Map features h to the embeddings z that the contrastive loss compares.

    Each dense layer is followed by BatchNormalization and, except for the last, by ReLU. As in the
    authors' code, the last BatchNormalization has no beta.

    Args:
        hidden_dim: Width of all dense layers but the last. Defaults to D, the width of h, or to 512
            if that is larger: a wider head lets a narrow network learn better features.
        output_dim: Width of z. Defaults to 128.
        num_layers: Number of dense layers: 2 in the first paper, 3 in the second. Defaults to 2.
        batch_norm: Whether each dense layer is followed by BatchNormalization. If False, the dense
            layers have biases instead. Defaults to True.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        h, (N, D).

    Output shape:
        z, (N, output_dim), float32.

    Raises:
        ValueError: If a width or `num_layers` is not a positive integer.

    Example:
    >>> import numpy as np
    >>> head = ProjectionHead(output_dim=64)
    >>> tuple(head(np.zeros((2, 512), "float32")).shape)
    (2, 64)

    References:
        Chen et al. 2020 (arXiv:2002.05709), section 2.1; arXiv:2006.10029, section 2.
    """

    def __init__(
        self,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        num_layers: int = 2,
        batch_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("output_dim", output_dim)
        check_positive_integer("num_layers", num_layers)
        if hidden_dim is not None:
            check_positive_integer("hidden_dim", hidden_dim)
        self.hidden_dim = hidden_dim
        self.output_dim = output_dim
        self.num_layers = num_layers
        self.batch_norm = batch_norm
        self.stack: list[keras.layers.Layer] = []

    def build(self, input_shape):
        """Create the layers for h of `input_shape`, (N, D)."""
        hidden_dim = self.hidden_dim or max(input_shape[-1], MIN_HIDDEN_DIM)
        for index in range(self.num_layers):
            self.stack.extend(self._block(index, hidden_dim))
        for layer in self.stack:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def _block(self, index, hidden_dim):
        last = index == self.num_layers - 1
        units = self.output_dim if last else hidden_dim
        common = {"dtype": self.dtype_policy}
        block = [layers.Dense(units, use_bias=not self.batch_norm, name=f"dense_{index}", **common)]
        if self.batch_norm:
            block.append(
                layers.BatchNormalization(
                    momentum=0.9, epsilon=1e-5, center=not last, name=f"bn_{index}", **common
                )
            )
        return block if last else [*block, layers.ReLU(name=f"relu_{index}", **common)]

    def first_layers(self, num_layers: int) -> list[keras.layers.Layer]:
        """Return the Keras layers up to the ReLU after dense layer number `num_layers`."""
        per_block = 3 if self.batch_norm else 2
        return self.stack[: per_block * num_layers]

    def call(self, h, training=False):
        """Return z."""
        for layer in self.stack:
            is_norm = isinstance(layer, layers.BatchNormalization)
            h = layer(h, training=training) if is_norm else layer(h)
        return keras.ops.cast(h, "float32")

    def compute_output_shape(self, input_shape):
        """Return the shape of z."""
        return (*input_shape[:-1], self.output_dim)

    def get_config(self):
        """Return the arguments that `from_config` takes."""
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "output_dim": self.output_dim,
            "num_layers": self.num_layers,
            "batch_norm": self.batch_norm,
        }
