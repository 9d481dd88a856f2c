"""The arrays of a checkpoint as a `ResNet`, a projection head and a classification head."""

import collections
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_simclr.checkpoints.registry import SK_RATIO
from keras_simclr.models.resnet import BLOCKS_PER_STAGE, MIN_BOTTLENECK_DEPTH, ResNet

KNOWN_LAYOUTS = (
    "those of the authors (TF1 and TF2), of PyTorch ports of their networks, or of torchvision and "
    "timm ResNets, as lightly, VISSL, MMSelfSup and TorchGeo save them"
)
MAIN_LAYERS = {  # convolutions and norms of a block by the number of its convolutions
    2: (("conv1", "conv2"), ("bn1", "bn2")),
    3: (("conv1", "conv2", "conv3"), ("bn1", "bn2", "bn3")),
    5: (
        ("conv1", "conv2", "sk_squeeze_conv", "sk_mix_conv", "conv3"),
        ("bn1", "bn2", "sk_squeeze_bn", "bn3"),
    ),
}


class Part(NamedTuple):
    """What one array of a checkpoint is.

    Attributes:
        block: (stage, block) from 0, or None in the stem.
        in_shortcut: Whether it belongs to the shortcut of its block.
        kind: "conv" or "bn".
        order: What to sort the convolutions, or the norms, of a block by.
        weight: Name of the weight in Keras, such as "kernel".
    """

    block: tuple[int, int] | None
    in_shortcut: bool
    kind: str
    order: tuple[int, ...]
    weight: str


@dataclasses.dataclass
class Network:
    """A network that was found in a checkpoint; arrays are given by their names.

    Attributes:
        resnet: The `ResNet`.
        channels: Channels of the images.
        layers: {layer of the encoder: {weight: name of the array}}.
        head: A dict {weight: name} for each dense layer of the projection head, with the weights
            of the norm after it. Empty if there is no head.
        logits: {weight: name} of the classification head, or empty.
        kernel_axes: {rank: axes} by which kernels are transposed for Keras.
    """

    resnet: ResNet
    channels: int
    layers: dict[str, dict[str, str]]
    head: list[dict[str, str]]
    logits: dict[str, str]
    kernel_axes: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def take(self, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
        """Remove an array from `arrays`, and return it in Keras' order of axes."""
        array = arrays.pop(name)
        axes = self.kernel_axes.get(array.ndim)
        return array if axes is None else array.transpose(axes)

    def shape(self, arrays: dict[str, Any], name: str) -> tuple[int, ...]:
        """Return the shape of an array in Keras' order of axes."""
        shape = arrays[name].shape
        return tuple(shape[axis] for axis in self.kernel_axes.get(len(shape), range(len(shape))))


def find_resnet(
    arrays: dict[str, np.ndarray],
    part_of: Callable[[str], Part | None],
    kernel_axes: dict[int, tuple[int, ...]],
    style: str,
) -> Network:
    """Return the ResNet of a checkpoint, without its heads.

    Args:
        arrays: Arrays of the network, by name.
        part_of: Function that returns what an array is, or None if it is no part of a ResNet.
        kernel_axes: {rank: axes} by which kernels are transposed for Keras.
        style: Style of the `ResNet`.

    Raises:
        ValueError: If the arrays are not those of a ResNet of this package.
    """
    parts = {name: part_of(name) for name in arrays}
    _check_all_known(name for name, part in parts.items() if part is None)
    groups = _group(parts)
    blocks = _blocks_per_stage(groups)
    convs = {len(groups[block, False, "conv"]) for block in _all_blocks(blocks)}
    depth = _depth(blocks, convs)
    stem = groups[None, False, "conv"]
    network = Network(ResNet(depth), 0, {}, [], {}, kernel_axes)
    shapes = [network.shape(arrays, layer["kernel"]) for layer in stem]
    if len(stem) not in (1, 3) or any(len(shape) != 4 for shape in shapes):
        raise unknown_network(f"a stem of {len(stem)} convolutions")
    ratio = _sk_ratio(network, arrays, groups, blocks) if convs == {5} else 0
    network.resnet = ResNet(
        depth,
        width=_width(shapes[-1][-1]),
        sk_ratio=ratio or (SK_RATIO if len(stem) == 3 else 0),
        stem="imagenet" if len(stem) == 3 or shapes[0][0] == 7 else "cifar",
        style=style,
    )
    network.channels = shapes[0][2]
    network.layers = dict(_named_layers(groups))
    return network


def _check_all_known(names: Iterable[str]):
    unknown = sorted(names)
    if unknown:
        raise unknown_network(f"arrays that its networks lack: {', '.join(unknown[:5])}")


def unknown_network(what: str) -> ValueError:
    """Return the error for a checkpoint of an unknown network."""
    return ValueError(
        "The checkpoint must be of a ResNet-10, 18, 34, 50, 101, 152 or 200 as this package has, "
        f"with names like {KNOWN_LAYOUTS}. Received: {what}."
    )


def _group(parts):
    """Return {(block, in_shortcut, kind): [{weight: name} of each layer, in order]}."""
    groups: Any = collections.defaultdict(lambda: collections.defaultdict(dict))
    for name, part in parts.items():
        groups[part.block, part.in_shortcut, part.kind][part.order][part.weight] = name
    found = {key: [layers[order] for order in sorted(layers)] for key, layers in groups.items()}
    for (block, _, kind), layers in found.items():
        if kind == "conv" and any("kernel" not in layer for layer in layers):
            raise unknown_network(f"a convolution without a kernel in {_place(block)}")
    return collections.defaultdict(list, found)


def _place(block):
    return "the stem" if block is None else f"block {block[1] + 1} of stage {block[0] + 1}"


def _blocks_per_stage(groups):
    blocks = {block for block, _, _ in groups if block is not None}
    counts = [1 + max([b for s, b in blocks if s == stage], default=-1) for stage in range(4)]
    if blocks != set(_all_blocks(counts)):
        raise unknown_network(f"{len(blocks)} blocks, some of which are missing or too many")
    return tuple(counts)


def _all_blocks(counts):
    return [(stage, block) for stage, count in enumerate(counts) for block in range(count)]


def _depth(blocks, convs):
    for depth, expected in BLOCKS_PER_STAGE.items():
        fits = convs <= {3, 5} if depth >= MIN_BOTTLENECK_DEPTH else convs == {2}
        if blocks == expected and len(convs) == 1 and fits:
            return depth
    raise unknown_network(f"stages of {blocks} blocks of {sorted(convs)} convolutions")


def _width(channels):
    if channels % 64:
        raise unknown_network(f"a stem of {channels} channels, which is no multiple of 64")
    return channels // 64


def _sk_ratio(network, arrays, groups, blocks):
    """Return the ratio of the selective kernels: that of the widest, as narrow ones are padded."""

    def ratio(block):
        kernel = groups[block, False, "conv"][2]["kernel"]
        filters, squeezed = network.shape(arrays, kernel)[-2:]
        return squeezed / filters

    return min(1, ratio(_all_blocks(blocks)[-1]))


def _named_layers(groups):
    """Yield the names of the encoder's layers and {weight: name} of each."""
    for (block, in_shortcut, kind), layers in groups.items():
        if block is None:
            prefix, numbers = "stem", ("",) if len(layers) == 1 else ("1", "2", "3")
            names = tuple(f"{kind}{number}" for number in numbers)
        else:
            prefix = f"stage{block[0] + 1}_block{block[1] + 1}"
            convs = len(groups[block, False, "conv"])
            names = MAIN_LAYERS[convs][kind == "bn"]
            if in_shortcut:
                prefix, names = f"{prefix}_shortcut", (kind,)
        if len(names) != len(layers):
            raise unknown_network(f"{len(layers)} layers {kind} in {_place(block)}")
        yield from ((f"{prefix}_{name}", layer) for name, layer in zip(names, layers, strict=True))
