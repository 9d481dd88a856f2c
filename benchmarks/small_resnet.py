"""The small ResNet that the benchmarks train: a 3x3 stem of 32, basic blocks of 32, 64, 128."""

import keras
from keras import layers


def small_resnet():
    """Return a functional model from images in 0..255 (N, H, W, 3) to feature maps of 128."""
    inputs = keras.Input((None, None, 3))
    outputs = _conv(layers.Rescaling(1 / 255)(inputs), 32)
    for filters, strides in ((32, 1), (64, 2), (128, 2)):
        outputs = _basic_block(outputs, filters, strides)
    return keras.Model(inputs, outputs, name="small_resnet")


def _basic_block(inputs, filters, strides):
    outputs = _conv(_conv(inputs, filters, strides=strides), filters, relu=False)
    if strides > 1:
        inputs = _conv(inputs, filters, size=1, strides=strides, relu=False)
    return layers.ReLU()(layers.Add()([inputs, outputs]))


def _conv(inputs, filters, size=3, strides=1, relu=True):
    outputs = layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(inputs)
    outputs = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(outputs)
    return layers.ReLU()(outputs) if relu else outputs
