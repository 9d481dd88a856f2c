"""Which network a checkpoint contains, and what of it is loaded."""

import dataclasses
import re
from typing import Any

import numpy as np

from keras_simclr.models.authors_layouts import port_network, tf1_network, tf2_network
from keras_simclr.models.network_arrays import Network, unknown_network
from keras_simclr.models.pytorch_layouts import pytorch_network
from keras_simclr.validation import check_normalization

EMA = "ema_model/"
OTHER_METHODS = {
    "MoCo": (
        r"encoder_[qk]|queue\d?|queue_ptr|base_encoder|momentum_encoder|moco_\w+|(query|key)_\w+"
    ),
    "BYOL or another method with a target network": (
        r"online_(net|network|encoder|projector|predictor)|target_(net|network|encoder|projector)"
        r"|student(_\w+)?|teacher(_\w+)?|momentum_\w+|\w+_momentum"
    ),
    "BYOL or SimSiam": r"predictor|prediction_head",
    "SwAV": r"prototypes\w*",
}
HEADS = ("h", "projection")


def choose_copy(arrays: dict[str, np.ndarray], ema: bool) -> None:
    """Keep the average of the weights under the names of the weights, or remove it."""
    averaged = [name for name in arrays if name.startswith(EMA)]
    if ema and not averaged:
        raise ValueError(
            "The checkpoint must contain averaged weights, with names that start with "
            f"{EMA!r}, for ema=True. Received: {_some(arrays)}. Pass ema=False."
        )
    for name in averaged:
        array = arrays.pop(name)
        if ema:
            arrays[name.removeprefix(EMA)] = array


def find_network(arrays: dict[str, np.ndarray]) -> Network:
    """Return the network of a checkpoint.

    Raises:
        ValueError: If the names are of another method, or of no known layout.
    """
    for method, pattern in OTHER_METHODS.items():
        whole = re.compile(rf"(^|.*[./])({pattern})([./].*|$)")
        found = [name for name in arrays if whole.match(name)]
        if found:
            raise ValueError(
                f"The checkpoint must be one of SimCLR. Received: names of {method}, such as "
                f"{found[0]!r}."
            )
    for layout in (tf1_network, tf2_network, port_network, pytorch_network):
        network = layout(arrays)
        if network is not None:
            return network
    raise unknown_network(_some(arrays))


def _some(arrays):
    return f"{len(arrays)} arrays, such as {', '.join(map(repr, sorted(arrays)[:3])) or 'none'}"


def set_style(network: Network, style: str | None, normalization: Any) -> None:
    """Set style and normalization of a network, which default to those of its project.

    Raises:
        ValueError: If the names in the file are of another style, the normalization is not known,
            or it does not fit the channels.
    """
    resnet = network.resnet
    if style not in (None, resnet.style):
        if resnet.style == "simclr":
            raise ValueError(
                "`style` must be 'simclr' for this file, as its names are those of the authors' "
                f"code. Received: style={style!r}. Leave it out."
            )
        resnet = dataclasses.replace(resnet, style=style, normalization=None)
    if normalization is None:
        normalization = resnet.normalization
        if normalization is None and resnet.style != "simclr":
            raise ValueError(
                "`normalization` must be given for this file, which does not state it. Received: "
                f"normalization=None for a network in the style of {resnet.style} with a "
                f"{'3x3' if resnet.stem == 'cifar' else '7x7'} stem. Pass (mean, standard "
                "deviation) of its training images in [0, 1], or (0, 1) if they were not "
                "normalized."
            )
    if normalization is not None:
        mean, deviation = check_normalization(normalization, network.channels)
        is_none = not np.any(mean) and np.all(np.array(deviation) == 1)
        normalization = None if is_none else (mean, deviation)
    network.resnet = dataclasses.replace(resnet, normalization=normalization)


def check_not_supervised(network: Network, arrays: dict[str, np.ndarray]) -> None:
    """Raise a ValueError if a network may have been trained with labels only.

    The authors' supervised checkpoints contain a projection head as it was initialized, their
    supervised hub modules none.
    """
    norms = [layer for layer in network.head if "gamma" in layer]
    untrained = norms and all(
        np.all(arrays[layer["gamma"]] == 1) and not np.any(arrays.get(layer.get("beta", ""), 0))
        for layer in norms
    )
    if untrained or (network.logits and not network.head):
        reason = "an untrained projection head" if untrained else "no projection head"
        raise ValueError(
            "The checkpoint must be one of SimCLR. Received: a classification head and "
            f"{reason}, as a supervised network has. If it is one of SimCLR, or if you want it "
            "anyway, pass allow_supervised=True."
        )


def place_of_logits(
    network: Network, arrays: dict[str, np.ndarray], head_on: str | None
) -> str | None:
    """Return what the classification head is applied to."""
    if not network.logits:
        if head_on is not None:
            raise ValueError(
                "`head_on` must be None for a checkpoint without a classification head. Received: "
                f"head_on={head_on!r}."
            )
        return None
    width = network.shape(arrays, network.logits["kernel"])[0]
    widths = {"h": network.resnet.output_dim}
    if len(network.head) > 1:
        widths["projection"] = network.shape(arrays, network.head[0]["kernel"])[1]
    fitting = [place for place in HEADS if widths.get(place) == width]
    if not fitting or head_on not in (None, *fitting):
        raise ValueError(
            "`head_on` must name something as wide as the classification head of the file expects, "
            f"{width}. Received: head_on={head_on!r} with widths {widths}."
        )
    return head_on or fitting[0]
