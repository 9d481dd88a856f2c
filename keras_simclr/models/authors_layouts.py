"""Names of arrays in checkpoints of the authors' code and of PyTorch ports of it."""

import re

import numpy as np

from keras_simclr.models.network_arrays import Network, Part, find_resnet, unknown_network
from keras_simclr.models.pytorch_layouts import (
    CONV_WEIGHTS,
    KERNEL_AXES,
    NORM_WEIGHTS,
    pytorch_head,
    pytorch_logits,
)
from keras_simclr.models.resnet import BLOCKS_PER_STAGE, MIN_BOTTLENECK_DEPTH

TF1_LAYER = re.compile(r"base_model/(conv2d|batch_normalization)(?:_(\d+))?/(\w+)")
KINDS = {"conv2d": "conv", "batch_normalization": "bn"}
TF2_ROOT = "resnet_model/"
TF2_STEM = re.compile(r"initial_conv_relu_max_pool/(\d+)/(conv2d|bn)/(\w+)")
TF2_BLOCK = re.compile(
    r"block_groups/(\d+)/layers/(\d+)/"
    r"(shortcut_layers|projection_layers|conv2d_bn_layers|conv_relu_dropblock_layers)/(\d+)/(.+)"
)
TF2_LAYERS = {  # of a block: kind, and the order inside a selective kernel
    "conv2d": ("conv", 0),
    "bn": ("bn", 0),
    "conv2d_fixed_padding/conv2d": ("conv", 0),
    "batch_norm_relu/bn": ("bn", 0),
    "conv2d_0": ("conv", 1),
    "batch_norm_relu_1/bn": ("bn", 1),
    "conv2d_1": ("conv", 2),
}
TF1_HEAD = re.compile(r"head_contrastive/nl_(\d+)/(?:dense|batch_normalization)/(\w+)")
TF2_HEAD = re.compile(r"_projection_head/linear_layers/(\d+)/(?:dense|bn_relu/bn)/(\w+)")
TF1_LOGITS = re.compile(r"head_supervised/linear_layer/dense/(\w+)")
TF2_LOGITS = re.compile(r"supervised_head/linear_layer/dense/(\w+)")
PORT_STEM = re.compile(r"resnet\.net\.0\.(\d+)(?:\.0)?\.(\w+)")
PORT_BLOCK = re.compile(r"resnet\.net\.([1-4])\.blocks\.(\d+)\.(net|projection)\.(.+)\.(\w+)")


def tf1_network(arrays: dict[str, np.ndarray]) -> Network | None:
    """Return the network of a TF1 checkpoint or hub module, or None if this is neither."""
    names = [name for name in arrays if name.startswith("base_model/")]
    if not names:
        return None
    parts = _tf1_parts(names)
    network = find_resnet({name: arrays[name] for name in names}, parts.get, {}, "simclr")
    if network.resnet.depth < MIN_BOTTLENECK_DEPTH and network.resnet.sk_ratio:
        raise unknown_network(
            f"a ResNet-{network.resnet.depth} with selective kernels by the authors' TF1 code, "
            "which pools the main path of its blocks, unlike their TF2 code and this package"
        )
    network.head = _numbered(arrays, TF1_HEAD)
    network.logits = _matched(arrays, TF1_LOGITS)
    return network


def _tf1_parts(names):
    """Return the part of each array: TF1 numbers layers in the order in which they are called."""
    matches = {name: match for name in names if (match := TF1_LAYER.fullmatch(name))}
    layers = {name: (match[1], int(match[2] or 0)) for name, match in matches.items()}
    convs, norms = (
        sorted(layer for layer in set(layers.values()) if layer[0] == kind)
        for kind in ("conv2d", "batch_normalization")
    )
    conv_places, norm_places = _call_order(len(convs), len(norms))
    places = dict(zip(convs + norms, conv_places + norm_places, strict=True))
    return {
        name: Part(
            places[layer][0], places[layer][1], KINDS[layer[0]], (layer[1],), matches[name][3]
        )
        for name, layer in layers.items()
    }


def _call_order(num_convs, num_norms):
    """Return (block, in_shortcut) of the convolutions and norms of the net with so many of them.

    The authors call the shortcut of a block first.
    """
    for depth in BLOCKS_PER_STAGE:
        for selective, in_stem in ((False, 1), (True, 3), (True, 1)):
            convs, norms = (
                list(_calls(depth, selective, in_stem, kind)) for kind in ("conv", "bn")
            )
            if len(convs) == num_convs and len(norms) == num_norms:
                return convs, norms
    raise unknown_network(f"{num_convs} convolutions and {num_norms} norms")


def _calls(depth, selective, in_stem, kind):
    yield from [(None, False)] * in_stem
    for stage, count in enumerate(BLOCKS_PER_STAGE[depth]):
        for block in range(count):
            if block == 0:
                yield (stage, block), True
            layers = 2 if depth < MIN_BOTTLENECK_DEPTH else 3
            if selective and layers == 3:
                layers = 5 if kind == "conv" else 4
            yield from [((stage, block), False)] * layers


def tf2_network(arrays: dict[str, np.ndarray]) -> Network | None:
    """Return the network of a SavedModel or TF2 checkpoint, or None if this is neither."""
    roots = {name.split(TF2_ROOT)[0] for name in arrays if TF2_ROOT in name}
    if not roots:
        return None
    root = min(roots, key=len)
    inner = {name.removeprefix(root): name for name in arrays if name.startswith(root)}
    encoder = {name: part for name, part in inner.items() if name.startswith(TF2_ROOT)}
    network = find_resnet(
        {full: arrays[full] for full in encoder.values()},
        lambda name: _tf2_part(name.removeprefix(root + TF2_ROOT)),
        {},
        "simclr",
    )
    network.head = _numbered(inner, TF2_HEAD, inner)
    network.logits = _matched(inner, TF2_LOGITS, inner)
    return network


def _tf2_part(name):
    stem = TF2_STEM.fullmatch(name)
    if stem:
        order, layer, weight = stem.groups()
        return Part(None, False, TF2_LAYERS[layer][0], (int(order),), weight)
    match = TF2_BLOCK.fullmatch(name)
    if not match:
        return None
    stage, block, path, order, rest = match.groups()
    layer, _, weight = rest.rpartition("/")
    if layer not in TF2_LAYERS:
        return None
    kind, inside = TF2_LAYERS[layer]
    in_shortcut = path in ("shortcut_layers", "projection_layers")
    return Part((int(stage), int(block)), in_shortcut, kind, (int(order), inside), weight)


def _numbered(arrays, pattern, names=None):
    """Return [{weight: name}] of the layers that a pattern numbers."""
    layers: dict[int, dict[str, str]] = {}
    for name in arrays:
        match = pattern.fullmatch(name)
        if match:
            layers.setdefault(int(match.group(1)), {})[match.group(2)] = (names or {name: name})[
                name
            ]
    return [layers[number] for number in sorted(layers)]


def _matched(arrays, pattern, names=None):
    matches = {name: pattern.fullmatch(name) for name in arrays}
    return {m.group(1): (names or {name: name})[name] for name, m in matches.items() if m}


def port_network(arrays: dict[str, np.ndarray]) -> Network | None:
    """Return the network of a PyTorch port of the second paper's nets, or None if it is none."""
    names = [name for name in arrays if name.startswith("resnet.net.")]
    if not names:
        return None
    kept = {n: arrays[n] for n in names if not n.endswith("num_batches_tracked")}
    network = find_resnet(kept, lambda name: _port_part(name, arrays), KERNEL_AXES, "simclr")
    network.head = pytorch_head(arrays, [n for n in arrays if n.startswith("head.layers.")])
    network.logits = pytorch_logits(arrays, "resnet.fc.")
    return network


def _port_part(name, arrays):
    kind, weights = ("conv", CONV_WEIGHTS) if arrays[name].ndim == 4 else ("bn", NORM_WEIGHTS)
    weight = weights.get(name.rpartition(".")[2])
    stem, match = PORT_STEM.fullmatch(name), PORT_BLOCK.fullmatch(name)
    if weight is not None and stem:
        return Part(None, False, kind, (int(stem.group(1)),), weight)
    if weight is None or match is None:
        return None
    stage, block, path, layer, _ = match.groups()
    layer = layer.replace("main_conv", "0").replace("mixing_conv", "1")
    order = tuple(map(int, re.findall(r"\d+", layer)))
    return Part((int(stage) - 1, int(block)), path == "projection", kind, order, weight)
