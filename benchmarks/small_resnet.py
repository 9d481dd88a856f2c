"""The small ResNet that the benchmarks train: a 3x3 stem, and basic blocks of w, 2w and 4w."""

import keras
from keras import layers


def small_resnet(scale=1 / 255, offset=0.0, symmetric_padding=False, width=32):
    """Return a functional model from images in 0..255 (N, H, W, 3) to feature maps of 4 w.

    Args:
        scale: What images are multiplied by. Defaults to 1 / 255.
        offset: What is then added. Defaults to 0.
        symmetric_padding: Whether convolutions pad as PyTorch does. Defaults to False.
        width: w, the filters of the stem and of the first block. Defaults to 32.
    """
    inputs = keras.Input((None, None, 3))
    outputs = layers.Rescaling(scale, offset)(inputs)
    outputs = _conv(outputs, "stem", width, symmetric=symmetric_padding)
    for filters, strides in ((width, 1), (2 * width, 2), (4 * width, 2)):
        outputs = _basic_block(outputs, filters, strides, symmetric_padding)
    return keras.Model(inputs, outputs, name="small_resnet")


def _basic_block(inputs, filters, strides, symmetric):
    name = f"block_{filters}"
    outputs = _conv(inputs, f"{name}_first", filters, strides=strides, symmetric=symmetric)
    outputs = _conv(outputs, f"{name}_second", filters, relu=False, symmetric=symmetric)
    if strides > 1:
        inputs = _conv(inputs, f"{name}_shortcut", filters, 1, strides, False, symmetric)
    return layers.ReLU()(layers.Add()([inputs, outputs]))


def _conv(inputs, name, filters, size=3, strides=1, relu=True, symmetric=False):
    if symmetric:
        inputs = layers.ZeroPadding2D(size // 2)(inputs)
    outputs = layers.Conv2D(
        filters,
        size,
        strides,
        padding="valid" if symmetric else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(inputs)
    outputs = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(outputs)
    return layers.ReLU()(outputs) if relu else outputs
