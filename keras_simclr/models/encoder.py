"""Any backbone as an encoder: images -> h."""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_simclr.keras_internals import flatten_layers
from keras_simclr.models.resnet import ResNet
from keras_simclr.validation import check_normalization, check_value_range

UNIT_RANGE = "to_unit_range"  # name of the layer that scales images for a `ResNet`
PIXELS = (0, 255)  # the range of uint8 images


def build_encoder(
    backbone: Any,
    image_shape: tuple[int, int, int],
    value_range: tuple[float, float],
    dtype: Any = None,
) -> keras.Model:
    """Build the functional model from images in `value_range` to features h.

    A `ResNet` of this package receives images scaled to [0, 1]; any other backbone receives images
    in `value_range`, unchanged. A feature map is averaged over its height and width. The model
    takes images of any size if the backbone does.

    Args:
        backbone: A `ResNet`, or any Keras model, layer or callable from images (N, H, W, C) to a
            feature map (N, h, w, D) or a vector (N, D).
        image_shape: (H, W, C) of the views.
        value_range: (lower, upper) of the images.
        dtype: Dtype policy of the layers that are created. Defaults to Keras' global policy.

    Returns:
        A `keras.Model` named "encoder"; its output h has the shape (N, D), float32.

    Raises:
        ValueError: If the backbone does not return one feature map or vector, or expects channels
            first.

    Example:
    >>> build_encoder(ResNet(18), (32, 32, 3), (0, 255)).output_shape
    (None, 512)
    """
    if isinstance(backbone, ResNet):
        return _resnet_encoder(backbone, image_shape, value_range, dtype)
    backbone = traced_backbone(backbone, image_shape)
    _check_channels_last(backbone)
    shape = full_input_shape(backbone) or (None, None, image_shape[-1])
    inputs = keras.Input(shape, name="images")
    encoder = keras.Model(inputs, _pool(_apply(backbone, inputs)), name="encoder")
    return with_value_range(encoder, value_range)


def _resnet_encoder(resnet, image_shape, value_range, dtype):
    height, width, channels = image_shape
    inputs = keras.Input((None, None, channels), name="images")
    scaled = _scale(inputs, value_range, resnet.normalization, channels)
    global_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype or global_policy)
    try:
        features = resnet.for_view_size(height, width)(scaled)
    finally:
        keras.config.set_dtype_policy(global_policy)
    return keras.Model(inputs, _pool(features), name="encoder")


def _scale(images, value_range, normalization, channels):
    """Scale images to [0, 1] and then, if asked to, normalize them."""
    lower, upper = value_range
    scale = 1 / (upper - lower)
    images = layers.Rescaling(scale, -lower * scale, dtype="float32", name=UNIT_RANGE)(images)
    if normalization is None:
        return images
    mean, deviation = map(np.array, check_normalization(normalization, channels))
    scale, offset = (1 / deviation).tolist(), (-mean / deviation).tolist()
    return layers.Rescaling(scale, offset, dtype="float32", name="normalized")(images)


def traced_backbone(backbone: Any, image_shape: tuple[int, int, int]) -> Any:
    """Return a backbone; a callable that is not a Keras object is traced to a `keras.Model`."""
    if isinstance(backbone, (ResNet, keras.layers.Layer)):
        return backbone
    inputs = keras.Input(image_shape, name="images")
    return keras.Model(inputs, _apply(backbone, inputs), name="backbone")


def full_input_shape(backbone: Any) -> tuple[int, int, int] | None:
    """Return (H, W, C) if `backbone` is a Keras model with a fixed input shape, otherwise None."""
    shape = getattr(backbone, "input_shape", None) if isinstance(backbone, keras.Model) else None
    if isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:]:
        return shape[1:]
    return None


def with_value_range(model: keras.Model, value_range: tuple[float, float]) -> keras.Model:
    """Return a model that knows the range of its images, until it is saved."""
    object.__setattr__(model, "value_range", tuple(value_range))
    return model


def value_range_of(
    model: keras.Model, given: tuple[float, float] | None = None, name: str = "model"
) -> tuple[float, float]:
    """Return the range of the images that a model expects.

    It is found from a `ResNet` in the model, even if the model was loaded from a file. Other models
    that this package creates know it until they are saved.

    Args:
        model: The model.
        given: What the user states. Defaults to None.
        name: Role of the model, for error messages.

    Raises:
        ValueError: If the range is not known and none is given, or if the two differ.
    """
    known = _known_value_range(model)
    if given is None and known is None:
        raise ValueError(
            f"`value_range` must be given, as the {name} does not state which images it expects. "
            "Received: value_range=None for a model without a `ResNet` of this package. Pass the "
            "`value_range` of the `SimCLR` that it came from: (0, 255) by default."
        )
    if given is None:
        return known
    given = check_value_range(given)
    if known is not None and not np.allclose(given, known, rtol=1e-6, atol=0):
        raise ValueError(
            f"`value_range` must be that of the {name}. Received: value_range={given}, expected "
            f"{known}. Leave it out, or rescale the images."
        )
    return given


def _known_value_range(model):
    for layer in flatten_layers(model):
        if isinstance(layer, layers.Rescaling) and layer.name == UNIT_RANGE:
            lower = -layer.offset / layer.scale
            return round(lower, 6), round(lower + 1 / layer.scale, 6)
    return getattr(model, "value_range", None)


def _check_channels_last(backbone):
    for layer in flatten_layers(backbone):
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                "The layers of the backbone must be channels last, like the images. "
                f"Received: the layer {layer.name!r} with data_format='channels_first'. Call "
                "`keras.config.set_image_data_format('channels_last')` before you create it."
            )


def _apply(backbone, inputs):
    try:
        return backbone(inputs)
    except Exception as error:
        raise ValueError(
            f"`backbone` could not be applied to images of shape {inputs.shape}. It must be a "
            "Keras model or layer, or a callable that uses Keras layers and `keras.ops`. "
            f"Received: backbone={backbone!r}, which raised {type(error).__name__}: {error}"
        ) from error


def _pool(features):
    rank = len(getattr(features, "shape", ()))
    if rank == 4:
        return layers.GlobalAveragePooling2D(
            data_format="channels_last", dtype="float32", name="h"
        )(features)
    if rank == 2:
        return layers.Activation("linear", dtype="float32", name="h")(features)
    raise ValueError(
        "`backbone` must return one feature map (N, h, w, D) or one vector (N, D) per image. "
        f"Received: {features!r}. Wrap it in a callable that picks or pools one, such as "
        "`lambda images: vit(images)[:, 0]`."
    )
