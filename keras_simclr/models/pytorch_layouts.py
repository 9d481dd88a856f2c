"""Names of arrays in checkpoints of PyTorch: torchvision and timm ResNets and their heads."""

import dataclasses
import re

import numpy as np

from keras_simclr.checkpoints.registry import IMAGENET, NO_NORMALIZATION
from keras_simclr.models.network_arrays import Network, Part, find_resnet

KERNEL_AXES = {4: (2, 3, 1, 0), 2: (1, 0)}  # PyTorch has the outputs first
CONV_WEIGHTS = {"weight": "kernel"}
DENSE_WEIGHTS = {"weight": "kernel", "bias": "bias"}
NORM_WEIGHTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
FIRST_BLOCK = re.compile(r"((?:.*\.)?)(?:layer1|4)\.0\.conv1\.weight")
STEM = re.compile(r"(conv|bn)1\.(\w+)")
BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))\.(\w+)")
CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
HEAD = re.compile(
    r"(?:.*\.)?(projection_head|projection|projector|contrastive_head|neck|heads|head|fc)\."
    r"(?=.*\d)[\w.]*\.\w+"
)
LOGITS = re.compile(r"(?:.*\.)?(?:fc|fc_cls|online_classifier\.linear|classifier|linear)\.weight")


def pytorch_network(arrays: dict[str, np.ndarray]) -> Network | None:
    """Return the network of a checkpoint with torchvision's names, or None if it has others.

    Raises:
        ValueError: If the checkpoint has several encoders, or one that is no `ResNet`.
    """
    prefixes = {m.group(1) for m in map(FIRST_BLOCK.fullmatch, arrays) if m}
    if not prefixes:
        return None
    if len(prefixes) > 1:
        raise ValueError(
            "A SimCLR checkpoint has one encoder. Received: several, with names that start with "
            f"{', '.join(map(repr, sorted(prefixes)))}."
        )
    prefix = prefixes.pop()
    head = [name for name in arrays if HEAD.fullmatch(name)]
    logits = _logits_prefix(arrays, head)
    names = {
        name: _torchvision_name(name.removeprefix(prefix))
        for name in arrays
        if name.startswith(prefix) and not name.endswith("num_batches_tracked")
    }
    if not prefix:  # other names may belong to other modules
        names = {n: own for n, own in names.items() if own.startswith(("conv1", "bn1", "layer"))}
    others = {*head, *pytorch_logits(arrays, logits).values()}
    encoder = {name: arrays[name] for name in names if name not in others}
    network = find_resnet(encoder, lambda name: _part(names[name]), KERNEL_AXES, "torchvision")
    network.head = pytorch_head(arrays, head)
    network.logits = pytorch_logits(arrays, logits)
    if len(network.head) == 1 and not network.logits:  # a linear classifier named as a head
        network.head, network.logits = [], network.head[0]
    _set_style_of_project(network, head)
    return network


def _torchvision_name(name):
    """Return a name as torchvision has it, also for a `Sequential` of the network's children."""
    first, dot, rest = name.partition(".")
    return CHILDREN.get(first, first) + dot + rest


def _part(name):
    stem, match = STEM.fullmatch(name), BLOCK.fullmatch(name)
    if stem:
        kind, weight = stem.groups()
        block, in_shortcut, order = None, False, 1
    elif match:
        stage, number, kind, index, downsample, weight = match.groups()
        block, in_shortcut = (int(stage) - 1, int(number)), downsample is not None
        kind = kind or ("conv" if downsample == "0" else "bn")
        order = int(index or 0)
    else:
        return None
    weight = (CONV_WEIGHTS if kind == "conv" else NORM_WEIGHTS).get(weight)
    return weight and Part(block, in_shortcut, kind, (order,), weight)


def _logits_prefix(arrays, head):
    """Return what the names of the classification head start with, or None."""
    for name in arrays:
        if LOGITS.fullmatch(name) and name not in head and arrays[name].ndim == 2:
            return name.removesuffix("weight")
    return None


def pytorch_logits(arrays: dict[str, np.ndarray], prefix: str | None) -> dict[str, str]:
    """Return {weight: name} of the dense layer whose arrays' names start with `prefix`, if any."""
    names = {f"{prefix}{name}": weight for name, weight in DENSE_WEIGHTS.items()}
    return {weight: name for name, weight in names.items() if prefix is not None and name in arrays}


def pytorch_head(arrays: dict[str, np.ndarray], names: list[str]) -> list[dict[str, str]]:
    """Return {weight: name} of each dense layer of a projection head, with the norm after it.

    Args:
        arrays: Arrays by name.
        names: Names of the head's arrays; the numbers in them are their order.
    """
    modules: dict[str, dict[str, str]] = {}
    for name in names:
        module, _, weight = name.rpartition(".")
        modules.setdefault(module, {})[weight] = name
    head: list[dict[str, str]] = []
    for module in sorted(modules, key=_numbers):
        weights = modules[module]
        is_dense = arrays[weights.get("weight", next(iter(weights.values())))].ndim == 2
        if is_dense:
            head.append({})
        if head:
            kinds = DENSE_WEIGHTS if is_dense else NORM_WEIGHTS
            head[-1].update({kinds[w]: name for w, name in weights.items() if w in kinds})
    return head


def _numbers(module):
    """Sort modules by the numbers in their names, and a norm "bn0" behind its "fc0"."""
    return tuple(map(int, re.findall(r"\d+", module))), "bn" in module


def _set_style_of_project(network, head):
    """Set the style and normalization of the project to which the names of a head belong.

    No normalization is known for networks for small images, and ImageNet's is that of all others
    but TorchGeo, for Landsat, and two projects: one has a `projector` of layers without biases and
    norms, the other an `fc` of several layers. A `projector` with biases is solo-learn's.
    """
    resnet = network.resnet
    is_projector = any(re.search(r"(^|\.)projector\.", name) for name in head)
    has_bias = any("bias" in layer for layer in network.head)
    has_norm = any("gamma" in layer for layer in network.head)
    if resnet.stem == "cifar":
        style = "solo-learn" if is_projector and has_bias and not has_norm else resnet.style
        network.resnet = dataclasses.replace(resnet, style=style)
        return
    bare = is_projector and not (has_bias or has_norm)
    in_fc = any(re.search(r"(^|\.)fc\.\d+\.", name) for name in head)
    normalization = NO_NORMALIZATION if network.channels != 3 or bare or in_fc else IMAGENET
    network.resnet = dataclasses.replace(resnet, normalization=normalization)
