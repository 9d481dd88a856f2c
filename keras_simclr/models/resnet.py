"""The papers' ResNets, from stock Keras layers and `keras.ops` only."""

import dataclasses
import functools
import re
from collections.abc import Callable

import keras
from keras import layers, ops

from keras_simclr.validation import (
    check_choice,
    check_normalization,
    check_number,
    check_positive,
)
from keras_simclr.view_size import is_small_view

CHANNELS_LAST = {"data_format": "channels_last"}  # regardless of Keras' global setting
BLOCKS_PER_STAGE = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
MIN_BOTTLENECK_DEPTH = 50
STEMS = ("auto", "cifar", "imagenet")
STYLES = ("simclr", "torchvision", "solo-learn")
STEM_CHANNELS = 64  # at width 1
MULTIPLE = 8  # of channels: PyTorch's convolutions on a CPU crash in the gradient of 4
NAME = re.compile(r"resnet(\d+)(?:_(\d+(?:\.\d+)?)x)?")
MIN_SQUEEZED_WIDTH = 32


@keras.saving.register_keras_serializable(package="keras_simclr")
@dataclasses.dataclass(frozen=True)
class ResNet:
    """Describe one of the papers' residual networks: images -> feature map.

    This is a description, not a layer: `SimCLR` takes it as `backbone`, and `for_view_size`
    returns the network itself, which consists of stock Keras layers and therefore loads without
    this package.

    Args:
        depth: 10, 18, 34, 50, 101, 152 or 200. From 50 on, the blocks are bottlenecks. 10, which is
            not in the papers, has one block per stage.
        width: Positive multiple of 1/8 that multiplies the channels of every layer, such as 2 or
            0.5. Defaults to 1.
        sk_ratio: Width of the selective kernels' squeeze relative to that of their block, in
            [0, 1]; 0.0625 in the second paper. Above 0, the network also has the stem and the
            shortcuts of ResNet-D; at depths 18 and 34 it has only those, as in the authors' code.
            Defaults to 0: no selective kernels.
        stem: "cifar" (3x3 convolution of stride 1, no pooling), "imagenet" (7x7 of stride 2, then
            pooling), or "auto": the former for views of at most 32 pixels per side, otherwise the
            latter. Defaults to "auto".
        style: "simclr", or "torchvision" for weights that were trained in PyTorch: pooling in the
            stem then pads all four sides, and the first stage of depths 18 and 34 has no
            convolution in its shortcut. With "solo-learn", the convolution of the CIFAR stem also
            pads by 2 pixels instead of 1. Defaults to "simclr".
        normalization: (mean, standard deviation) of images in [0, 1], each a number or a tuple of
            one number per channel, which the encoder subtracts and divides by. Defaults to None:
            the network receives [0, 1], as in the papers.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> resnet = ResNet(18)
    >>> resnet.for_view_size(32, 32)(keras.Input((32, 32, 3))).shape
    (None, 4, 4, 512)
    >>> resnet.for_view_size(96, 96)(keras.Input((96, 96, 3))).shape
    (None, 3, 3, 512)

    References:
        Chen et al. 2020 (arXiv:2002.05709), section 2.1 and appendix B.9; arXiv:2006.10029,
        section 3. Selective kernels: arXiv:1903.06586. ResNet-D: arXiv:1812.01187.
    """

    depth: int
    width: float = 1
    sk_ratio: float = 0
    stem: str = "auto"
    style: str = "simclr"
    normalization: tuple[float | tuple[float, ...], float | tuple[float, ...]] | None = None

    def __post_init__(self):
        """Check the arguments."""
        check_choice("style", self.style, STYLES)
        if self.style != "simclr" and self.sk_ratio:
            raise ValueError(
                f"`sk_ratio` must be 0 in the style of {self.style}, which has no selective "
                f"kernels. Received: sk_ratio={self.sk_ratio}."
            )
        if self.normalization is not None:
            checked = check_normalization(self.normalization)
            object.__setattr__(self, "normalization", checked)
        check_choice("depth", self.depth, tuple(BLOCKS_PER_STAGE))
        check_positive("width", self.width)
        if (STEM_CHANNELS * self.width) % MULTIPLE:
            raise ValueError(
                f"`width` must be a multiple of 1/{STEM_CHANNELS // MULTIPLE}, so that layers have "
                f"a multiple of {MULTIPLE} channels. Received: width={self.width!r}."
            )
        check_number("sk_ratio", self.sk_ratio, 0, 1)
        check_choice("stem", self.stem, STEMS)

    @property
    def is_wide_or_selective(self) -> bool:
        """Whether this is one of the second paper's larger networks."""
        return self.width > 1 or self.sk_ratio > 0

    @property
    def output_dim(self) -> int:
        """D, the channels of the last feature map."""
        expansion = 4 if self.depth >= MIN_BOTTLENECK_DEPTH else 1
        return 8 * expansion * self.stem_channels

    @property
    def stem_channels(self) -> int:
        """Channels of the stem and of the first stage's 3x3 convolutions."""
        return int(STEM_CHANNELS * self.width)

    def for_view_size(self, height: int, width: int) -> Callable:
        """Return the network for views of this size.

        Args:
            height: Height of the views in pixels.
            width: Width of the views in pixels.

        Returns:
            A callable from a `KerasTensor` of images (N, H, W, C) in [0, 1], of any size, to
            the last feature map (N, h, w, D). D is 512 * `width`, or 2048 * `width` from depth 50
            on. Each call creates new layers.
        """
        stem = self.stem
        if stem == "auto":
            stem = "cifar" if is_small_view(height, width) else "imagenet"
        return functools.partial(_feature_map, dataclasses.replace(self, stem=stem))

    def get_config(self):
        """Return the arguments that `from_config` takes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        """Create a `ResNet` from its config."""
        return cls(**config)


def resnet_by_name(name: str) -> ResNet:
    """Return the `ResNet` named "resnet10", "resnet18", ..., "resnet200".

    Args:
        name: One of these, also with a width: "resnet50_2x" has twice the channels, and
            "resnet10_0.5x" half of them.

    Returns:
        A `ResNet` of that depth and width, with the other arguments at their defaults.

    Raises:
        ValueError: If the name is unknown.

    Example:
    >>> resnet_by_name("resnet50") == ResNet(50)
    True
    >>> resnet_by_name("resnet10_0.5x") == ResNet(10, width=0.5)
    True
    """
    match = NAME.fullmatch(name)
    if not match or int(match[1]) not in BLOCKS_PER_STAGE:
        known = ", ".join(f"resnet{depth}" for depth in BLOCKS_PER_STAGE)
        raise ValueError(
            f"The name of `backbone` must be one of {known}, or one of these with a width, such as "
            f"resnet50_2x. Received: {name!r}. For another network, pass a `ResNet`, or any Keras "
            "model or layer."
        )
    width = float(match[2] or 1)
    return ResNet(int(match[1]), width=int(width) if width.is_integer() else width)


def _feature_map(resnet, x):
    x = _stem(resnet, x)
    for stage, blocks in enumerate(BLOCKS_PER_STAGE[resnet.depth]):
        filters = resnet.stem_channels * 2**stage
        for block in range(blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            name = f"stage{stage + 1}_block{block + 1}"
            x = _block(resnet, x, filters, strides, name, _has_shortcut(resnet, stage, block))
    return x


def _has_shortcut(resnet, stage, block):
    """Return whether the shortcut of a block has a convolution."""
    keeps_shape = stage == 0 and resnet.depth < MIN_BOTTLENECK_DEPTH
    return block == 0 and not (keeps_shape and resnet.style != "simclr")


def _stem(resnet, x):
    filters = resnet.stem_channels
    if resnet.stem == "cifar":
        if resnet.style == "solo-learn":
            x = layers.ZeroPadding2D(1, name="stem_pad", **CHANNELS_LAST)(x)
        return _conv_bn(x, filters, 3, name="stem")
    if resnet.sk_ratio > 0:
        x = _conv_bn(x, filters // 2, 3, strides=2, name="stem", index=1)
        x = _conv_bn(x, filters // 2, 3, name="stem", index=2)
        x = _conv_bn(x, filters, 3, name="stem", index=3)
    else:
        x = _conv_bn(x, filters, 7, strides=2, name="stem")
    padding = "same"
    if resnet.style != "simclr":  # zeros never win, as they follow a ReLU
        x = layers.ZeroPadding2D(1, name="stem_pool_pad", **CHANNELS_LAST)(x)
        padding = "valid"
    return layers.MaxPooling2D(3, 2, padding, name="stem_pool", **CHANNELS_LAST)(x)


def _block(resnet, x, filters, strides, name, has_shortcut):
    is_bottleneck = resnet.depth >= MIN_BOTTLENECK_DEPTH
    shortcut = x
    if has_shortcut:
        filters_out = 4 * filters if is_bottleneck else filters
        shortcut = _shortcut(resnet, x, filters_out, strides, f"{name}_shortcut")
    path = _bottleneck_path if is_bottleneck else _basic_path
    x = path(resnet, x, filters, strides, name)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)


def _shortcut(resnet, x, filters, strides, name):
    if resnet.sk_ratio > 0:
        x = _padded(x, 2, strides, f"{name}_pad")
        padding = "same" if strides == 1 else "valid"
        x = layers.AveragePooling2D(2, strides, padding, name=f"{name}_pool", **CHANNELS_LAST)(x)
        strides = 1
    return _conv_bn(x, filters, 1, strides, relu=False, name=name)


def _basic_path(resnet, x, filters, strides, name):
    x = _conv_bn(x, filters, 3, strides, name=name, index=1)
    return _conv_bn(x, filters, 3, gamma="zeros", relu=False, name=name, index=2)


def _bottleneck_path(resnet, x, filters, strides, name):
    x = _conv_bn(x, filters, 1, name=name, index=1)
    if resnet.sk_ratio > 0:
        x = _conv_bn(x, 2 * filters, 3, strides, name=name, index=2)
        x = _selective_kernels(x.dtype, filters, resnet.sk_ratio, f"{name}_sk")(x)
    else:
        x = _conv_bn(x, filters, 3, strides, name=name, index=2)
    return _conv_bn(x, 4 * filters, 1, gamma="zeros", relu=False, name=name, index=3)


def _selective_kernels(dtype, filters, sk_ratio, name):
    # A nested model: Keras traverses a model's graph recursively, and in a flat ResNet-152 these
    # operations would exceed Python's recursion limit.
    streams = keras.Input((None, None, 2 * filters), dtype=dtype, name=f"{name}_streams")
    one, other = ops.split(streams, 2, axis=-1)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool", **CHANNELS_LAST)(
        one + other
    )
    squeezed_width = max(int(filters * sk_ratio), MIN_SQUEEZED_WIDTH)
    squeezed = _conv_bn(squeezed, squeezed_width, 1, name=f"{name}_squeeze")
    logits = _conv(squeezed, 2 * filters, 1, name=f"{name}_mix_conv")
    logits_one, logits_other = ops.split(logits, 2, axis=-1)
    weight = ops.sigmoid(logits_one - logits_other)  # the first weight of a softmax over the two
    return keras.Model(streams, weight * one + (1 - weight) * other, name=name)


def _conv_bn(x, filters, size, strides=1, *, name, index="", gamma="ones", relu=True):
    x = _padded(x, size, strides, f"{name}_pad{index}")
    x = _conv(x, filters, size, strides, name=f"{name}_conv{index}")
    x = layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=gamma, name=f"{name}_bn{index}"
    )(x)
    return layers.ReLU(name=f"{name}_relu{index}")(x) if relu else x


def _conv(x, filters, size, strides=1, *, name):
    padding = "same" if strides == 1 else "valid"
    kernel = {"use_bias": False, "kernel_initializer": keras.initializers.VarianceScaling()}
    return layers.Conv2D(filters, size, strides, padding, name=name, **kernel, **CHANNELS_LAST)(x)


def _padded(x, size, strides, name):
    # With strides above 1, only explicit padding treats even and odd sizes alike.
    if strides == 1 or size == 1:
        return x
    before = (size - 1) // 2
    sides = (before, size - 1 - before)
    return layers.ZeroPadding2D((sides, sides), name=name, **CHANNELS_LAST)(x)
