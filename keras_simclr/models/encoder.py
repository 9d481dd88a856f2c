"""A backbone, whatever it is, made into an encoder: pictures -> h."""

import contextlib
import random

import keras
from keras import layers

from keras_simclr.models.resnet import ResNet


def build_encoder(backbone, image_shape, value_range):
    """Make the functional model that turns pictures in `value_range` into features h.

    A `ResNet` of this package is fed pictures scaled to [0, 1]; any other backbone is fed
    pictures in `value_range`, unchanged, as its own documentation asks. A feature map is averaged
    over its height and width. The model takes pictures of any size if the backbone does.

    Args:
        backbone: A `ResNet`, or any Keras model, layer or callable from pictures (N, H, W, C) to
            a feature map (N, h, w, D) or a vector (N, D).
        image_shape: (H, W, C) of the views.
        value_range: (low, high) of the pictures.

    Returns:
        A `keras.Model` named "encoder"; its output h is of shape (N, D), float32.

    Raises:
        ValueError: If the backbone gives something else than one feature map or vector.

    Example:
    >>> build_encoder(ResNet(18), (32, 32, 3), (0, 255)).output_shape
    (None, 512)
    """
    if isinstance(backbone, ResNet):
        return _encoder_of_resnet(backbone, image_shape, value_range)
    backbone = traced_backbone(backbone, image_shape)
    shape = full_input_shape(backbone) or (None, None, image_shape[-1])
    inputs = keras.Input(shape, name="images")
    return keras.Model(inputs, _pooled(_traced(backbone, inputs)), name="encoder")


def _encoder_of_resnet(resnet, image_shape, value_range):
    height, width, channels = image_shape
    low, high = value_range
    inputs = keras.Input((None, None, channels), name="images")
    scaled = layers.Rescaling(
        1 / (high - low), -low / (high - low), dtype="float32", name="to_unit_range"
    )(inputs)
    return keras.Model(inputs, _pooled(resnet.for_view_size(height, width)(scaled)), name="encoder")


def traced_backbone(backbone, image_shape):
    """Return `backbone`, a callable that is no Keras object as a functional `keras.Model`."""
    if isinstance(backbone, (ResNet, keras.layers.Layer)):
        return backbone
    inputs = keras.Input(image_shape, name="images")
    return keras.Model(inputs, _traced(backbone, inputs), name="backbone")


def full_input_shape(backbone):
    """Return (H, W, C) if `backbone` is a Keras model that fixes all three, otherwise None."""
    shape = getattr(backbone, "input_shape", None) if isinstance(backbone, keras.Model) else None
    if isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:]:
        return shape[1:]
    return None


def _traced(backbone, inputs):
    try:
        return backbone(inputs)
    except Exception as error:
        raise ValueError(
            f"`backbone` could not be applied to pictures of shape {inputs.shape}. It must be a "
            "Keras model or layer, or a callable made of Keras layers and `keras.ops`. "
            f"Received: backbone={backbone!r}, which raised {type(error).__name__}: {error}"
        ) from error


def _pooled(features):
    rank = len(getattr(features, "shape", ()))
    if rank == 4:
        return layers.GlobalAveragePooling2D(dtype="float32", name="h")(features)
    if rank == 2:
        return layers.Activation("linear", dtype="float32", name="h")(features)
    raise ValueError(
        "`backbone` must give one feature map (N, h, w, D) or one vector (N, D) a picture. "
        f"Received: {features!r}. Wrap it in a callable that picks or pools one, such as "
        "`lambda images: vit(images)[:, 0]`."
    )


@contextlib.contextmanager
def python_random(seed):
    """Let initializers, whose seeds Keras draws from Python's `random`, follow `seed`."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
