"""Published checkpoints as models."""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_simclr.checkpoints import load_arrays
from keras_simclr.keras_internals import flatten_layers
from keras_simclr.models.authors_layouts import port_network, tf1_network, tf2_network
from keras_simclr.models.classifier import build_classifier
from keras_simclr.models.network_arrays import Network, unknown_network
from keras_simclr.models.projection_head import ProjectionHead
from keras_simclr.models.simclr import SimCLR
from keras_simclr.models.torch_layouts import torch_network
from keras_simclr.validation import check_choice, check_normalization, check_value_range

OPTIMIZER = re.compile(
    r"/(Momentum|Adam(_1)?|LARS\w*)$|(^|[./])optimizer(_states)?[./]|^global_step$"
)
EMA = "ema_model/"
OTHER_METHODS = {
    "MoCo": r"encoder_[qk]|queue\d?|queue_ptr|base_encoder|momentum_encoder|moco_\w+|(query|key)_\w+",
    "BYOL or another method with a target network": (
        r"online_(net|network|encoder|projector|predictor)|target_(net|network|encoder|projector)"
        r"|student(_\w+)?|teacher(_\w+)?|momentum_\w+|\w+_momentum"
    ),
    "BYOL or SimSiam": r"predictor|prediction_head",
    "SwAV": r"prototypes\w*",
}
HEADS = ("h", "projection")


@dataclasses.dataclass(frozen=True)
class LoadedCheckpoint:
    """What `load_checkpoint` returns.

    Attributes:
        model: A built `SimCLR` with the encoder of the file. Without a projection head in the
            file, that of the model is new.
        classifier: A `keras.Model` from images to class probabilities, with a copy of the encoder
            and the classification head of the file as the layer "logits"; None if the file has no
            classification head.
        has_projection_head: Whether the projection head is that of the file.
    """

    model: SimCLR
    classifier: keras.Model | None
    has_projection_head: bool


def load_checkpoint(
    path: str | os.PathLike,
    *,
    value_range: tuple[float, float] = (0, 255),
    head_on: str | None = None,
    normalization: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    style: str | None = None,
    ema: bool = False,
    allow_supervised: bool = False,
    image_size: int | tuple[int, int] | None = None,
    seed: int | None = None,
    **kwargs: Any,
) -> LoadedCheckpoint:
    """Load a checkpoint of another project as a `SimCLR` and, if it has one, a classifier.

    Depth, width, selective kernels, stem, channels, heads and classes are found from the names and
    shapes of the arrays. Known are the authors' TF1 checkpoints and hub modules, their SavedModels,
    PyTorch ports of them, and the ResNets of torchvision and timm, as lightly, VISSL, MMSelfSup,
    TorchGeo and others save them.

    Args:
        path: File or folder, as for `keras_simclr.checkpoints.load_arrays`.
        value_range: (lower, upper) of the images. Defaults to (0, 255).
        head_on: What the classification head of the file is applied to: "h", or "projection", the
            first layer of the projection head. Shapes seldom tell. Defaults to "h" for files of
            every kind, or to what fits; the authors' command for fine-tuning with 1 % of the
            labels puts it on "projection".
        normalization: (mean, standard deviation) of images in [0, 1], which becomes part of the
            encoder; (0, 1) is none. Defaults to none for the authors' networks, their ports, and
            images without three channels, otherwise to ImageNet's; required for PyTorch networks
            for small images (3x3 convolution in the stem).
        style: Style of the `ResNet`. Defaults to that of the project; pass "simclr" for a port of
            the authors' weights that has torchvision's names.
        ema: Whether to load the exponential moving average of the weights, which some TF1
            checkpoints contain. Defaults to False.
        allow_supervised: Whether to load a network that was, or may have been, trained with labels
            only: its projection head is missing or untrained. Defaults to False.
        image_size: Size of the views of the `SimCLR`. Defaults to 224, and to 32 for networks for
            small images.
        seed: Seed of the `SimCLR`. Defaults to None.
        **kwargs: Other arguments of `SimCLR`, such as `temperature`.

    Returns:
        A `LoadedCheckpoint` with the attributes `model`, `classifier` and `has_projection_head`.

    Raises:
        FileNotFoundError: If there is no such checkpoint, or a part of it is missing.
        ValueError: If the file is damaged or contains code, is not of SimCLR, has an unknown
            layout or a wrong shape, or if an argument does not fit it.

    Example:
    >>> loaded = load_checkpoint("simclr/r50_1x_sk0/saved_model")  # doctest: +SKIP
    >>> features = loaded.model.predict(images)  # doctest: +SKIP
    """
    arrays = load_arrays(path, lambda name: not OPTIMIZER.search(name))
    return model_from_arrays(
        arrays,
        value_range=value_range,
        head_on=head_on,
        normalization=normalization,
        style=style,
        ema=ema,
        allow_supervised=allow_supervised,
        image_size=image_size,
        seed=seed,
        **kwargs,
    )


def model_from_arrays(
    arrays: dict[str, np.ndarray],
    *,
    value_range: tuple[float, float] = (0, 255),
    head_on: str | None = None,
    normalization: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    style: str | None = None,
    ema: bool = False,
    allow_supervised: bool = False,
    image_size: int | tuple[int, int] | None = None,
    seed: int | None = None,
    **kwargs: Any,
) -> LoadedCheckpoint:
    """Return the models of a checkpoint's arrays.

    Args:
        arrays: Arrays by name, as of `keras_simclr.checkpoints.load_arrays`. The dict is emptied
            as the model takes its arrays, so that they are not in memory twice.
        value_range: As in `load_checkpoint`, like all further arguments.
        head_on: See there.
        normalization: See there.
        style: See there.
        ema: See there.
        allow_supervised: See there.
        image_size: See there.
        seed: See there.
        **kwargs: See there.

    Returns:
        A `LoadedCheckpoint`.

    Raises:
        ValueError: As in `load_checkpoint`.
    """
    check_value_range(value_range)
    if head_on is not None:
        check_choice("head_on", head_on, HEADS)
    _choose_copy(arrays, ema)
    network = _find_network(arrays)
    _set_style(network, style, normalization)
    if not allow_supervised:
        _check_not_supervised(network, arrays)
    head_on = _head_on(network, arrays, head_on)
    size = image_size or (32 if network.resnet.stem == "cifar" else 224)
    model = SimCLR(
        network.resnet,
        projection_head=_projection_head(network, arrays),
        image_size=size,
        value_range=value_range,
        seed=seed,
        **kwargs,
    )
    model.build((None, *model.image_size, network.channels))
    _assign(network, arrays, _weights_of_encoder(model.encoder), network.layers)
    if network.head:
        _assign(
            network, arrays, _weights_of_head(model.projection_head), dict(enumerate(network.head))
        )
    model.pretrained = True
    classifier = _classifier(network, arrays, model, head_on) if network.logits else None
    return LoadedCheckpoint(model, classifier, bool(network.head))


def _choose_copy(arrays, ema):
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


def _find_network(arrays):
    for method, pattern in OTHER_METHODS.items():
        whole = re.compile(rf"(^|.*[./])({pattern})([./].*|$)")
        found = [name for name in arrays if whole.match(name)]
        if found:
            raise ValueError(
                f"The checkpoint must be one of SimCLR. Received: names of {method}, such as "
                f"{found[0]!r}."
            )
    for layout in (tf1_network, tf2_network, port_network, torch_network):
        network = layout(arrays)
        if network is not None:
            return network
    raise unknown_network(_some(arrays))


def _some(arrays):
    return f"{len(arrays)} arrays, such as {', '.join(map(repr, sorted(arrays)[:3])) or 'none'}"


def _set_style(network, style, normalization):
    resnet = network.resnet
    if style is not None:
        found = resnet.normalization if style == resnet.style else None
        resnet = dataclasses.replace(resnet, style=style, normalization=found)
    if normalization is None:
        normalization = resnet.normalization
        if normalization is None and resnet.style == "torchvision":
            raise ValueError(
                "`normalization` must be given for a network with a 3x3 stem, as such files do not "
                "tell it. Received: normalization=None. Pass (mean, standard deviation) of its "
                "training images in [0, 1], or (0, 1) if they were not normalized."
            )
    if normalization is not None:
        mean, deviation = check_normalization(normalization, network.channels)
        is_none = not np.any(mean) and np.all(np.array(deviation) == 1)
        normalization = None if is_none else (mean, deviation)
    network.resnet = dataclasses.replace(resnet, normalization=normalization)


def _check_not_supervised(network, arrays):
    norms = [layer for layer in network.head if "gamma" in layer]
    untrained = norms and all(
        np.all(arrays[layer["gamma"]] == 1) and not np.any(arrays.get(layer.get("beta", ""), 0))
        for layer in norms
    )
    if untrained or network.maybe_supervised:
        reason = "an untrained projection head" if untrained else "no projection head"
        raise ValueError(
            "The checkpoint must be one of SimCLR. Received: a classification head and "
            f"{reason}, as a supervised network has. If it is one of SimCLR, or if you want it "
            "nonetheless, pass allow_supervised=True."
        )


def _head_on(network, arrays, head_on):
    """Return what the classification head is applied to."""
    if not network.logits:
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


def _projection_head(network, arrays):
    """Return a head of the layers in the file, not yet built; None for a new one."""
    head = network.head
    if not head:
        return None
    widths = [network.shape(arrays, layer["kernel"])[1] for layer in head]
    batch_norm = "gamma" in head[0]
    norms = [("gamma" in layer, "bias" in layer) for layer in head]
    same_width = len(set(widths[:-1])) <= 1
    if same_width and set(norms) == {(batch_norm, not batch_norm)} and "beta" not in head[-1]:
        return ProjectionHead(
            widths[0] if len(widths) > 1 else None,
            widths[-1],
            len(head),
            batch_norm,
            name="projection_head",
        )
    return _sequential_head(head, widths)


def _sequential_head(head, widths):
    """Return a head that `ProjectionHead` does not describe, as stock layers."""
    stack: list[keras.layers.Layer] = []
    for index, (layer, width) in enumerate(zip(head, widths, strict=True)):
        stack.append(keras.layers.Dense(width, use_bias="bias" in layer, name=f"dense_{index}"))
        if "moving_mean" in layer:
            stack.append(
                keras.layers.BatchNormalization(
                    momentum=0.9,
                    epsilon=1e-5,
                    center="beta" in layer,
                    scale="gamma" in layer,
                    name=f"bn_{index}",
                )
            )
        if index < len(head) - 1:
            stack.append(keras.layers.ReLU(name=f"relu_{index}"))
    stack.append(keras.layers.Activation("linear", dtype="float32", name="z"))
    return keras.Sequential(stack, name="projection_head")


def _weights_of_encoder(encoder):
    """Return {layer: {weight: variable}} of the layers of an encoder that have weights."""
    found = {}
    for layer in flatten_layers(encoder):
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.BatchNormalization)):
            found[layer.name] = {variable.name: variable for variable in layer.variables}
    return found


def _weights_of_head(head):
    """Return {index: {weight: variable}} of the dense layers of a head and the norms after them."""
    stack = head.stack if isinstance(head, ProjectionHead) else head.layers
    found: dict[int, dict[str, Any]] = {}
    for layer in stack:
        if isinstance(layer, keras.layers.Dense):
            found[len(found)] = {}
        if found:
            found[len(found) - 1].update({variable.name: variable for variable in layer.variables})
    return found


def _assign(network: Network, arrays, variables, names):
    """Assign the arrays with these names to variables, after a look at all names and shapes."""
    pairs = []
    for layer, expected in variables.items():
        found = names.get(layer, {})
        if set(found) != set(expected):
            raise ValueError(
                f"The layer {layer!r} must have the weights {', '.join(expected)}. Received: "
                f"{', '.join(found.values()) or 'none'}."
            )
        pairs += [(variable, found[weight]) for weight, variable in expected.items()]
    for variable, name in pairs:
        shape = network.shape(arrays, name)
        if shape != tuple(variable.shape):
            raise ValueError(
                f"The array {name!r} must have the shape {tuple(variable.shape)} in Keras' order "
                f"of axes. Received: {shape}."
            )
    for variable, name in pairs:
        variable.assign(network.take(arrays, name))


def _classifier(network, arrays, model, head_on):
    kernel = network.take(arrays, network.logits["kernel"])
    bias = np.zeros(kernel.shape[1], "float32")
    if "bias" in network.logits:
        bias = network.take(arrays, network.logits["bias"])
    classifier = build_classifier(
        model, kernel.shape[1], projection_layers=int(head_on == "projection")
    )
    classifier.get_layer("logits").set_weights([kernel, bias])
    return classifier
