"""The model and the images with which the programs of this folder train."""

import keras
import numpy as np
from keras import layers

COUNT, SIZE = 64, 12


def model_of(batch_norm=True, seed=1, **arguments):
    """Return a small SimCLR model with a smooth encoder, built."""
    from keras_simclr import ProjectionHead, SimCLR

    keras.utils.set_random_seed(0)
    norm = [layers.BatchNormalization(momentum=0.9)] if batch_norm else []
    backbone = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, use_bias=not batch_norm),
            *norm,
            layers.Activation("tanh"),
        ]
    )
    head = ProjectionHead(8, output_dim=8, batch_norm=batch_norm)
    model = SimCLR(backbone, projection_head=head, seed=seed, **arguments)
    model.build((None, SIZE, SIZE, 3))
    return model


def make_images(count=COUNT):
    """Return images of different colors, so that gradients are more than rounding."""
    rng = np.random.default_rng(0)
    colors = rng.uniform(0, 200, (count, 1, 1, 3)) + rng.uniform(0, 55, (count, SIZE, SIZE, 3))
    return colors.astype("uint8")
