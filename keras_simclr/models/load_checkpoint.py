"""Checkpoints of other projects as models."""

import dataclasses
import inspect
import os
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_simclr.checkpoints import load_arrays
from keras_simclr.keras_internals import zero_initial_weights
from keras_simclr.models.assign_arrays import (
    assign,
    projection_head,
    weights_of_encoder,
    weights_of_head,
)
from keras_simclr.models.classifier import build_classifier
from keras_simclr.models.find_network import (
    HEADS,
    check_not_supervised,
    choose_copy,
    find_network,
    place_of_logits,
    set_style,
)
from keras_simclr.models.resnet import STYLES
from keras_simclr.models.simclr import SimCLR
from keras_simclr.ops.seeds import python_random
from keras_simclr.validation import check_choice, check_normalization

OPTIMIZER = re.compile(
    r"/(Momentum|Adam(_1)?|LARS\w*)$|(^|[./])optimizer(_states)?[./]|^global_step$"
)

OF_FILE = ("backbone", "projection_head")
OF_KERAS = ("name", "dtype", "trainable")  # arguments of `keras.Model` that `SimCLR` takes


@dataclasses.dataclass(frozen=True)
class LoadedCheckpoint:
    """What `load_checkpoint` returns.

    Attributes:
        model: A built `SimCLR` with the encoder of the file. Without a projection head in the
            file, that of the model is new.
        classifier: A `keras.Model` from images to class probabilities, with a copy of the encoder
            and the classification head of the file as the layer "logits"; None if the file has no
            classification head.
        has_projection_head: Whether the file has a projection head, which the model then has.
    """

    model: SimCLR
    classifier: keras.Model | None
    has_projection_head: bool


def load_checkpoint(
    path: str | os.PathLike | dict[str, np.ndarray],
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
        path: File or folder, as for `keras_simclr.checkpoints.load_arrays`, or the arrays that it
            returns.
        value_range: (lower, upper) of the images. Defaults to (0, 255).
        head_on: What the classification head of the file is applied to: "h", or "projection", the
            first layer of the projection head. Defaults to "h", or to the only one that fits. The
            authors' networks that were fine-tuned on 1 % and 10 % of the labels need "projection",
            which their shapes do not show.
        normalization: (mean, standard deviation) of images in [0, 1], which becomes part of the
            encoder; (0, 1) is none. Defaults to none for the authors' networks, their ports, and
            images without three channels, otherwise to ImageNet's; required for PyTorch networks
            for small images (3x3 convolution in the stem).
        style: Style of the `ResNet`. Defaults to that of the project, which is "simclr" for the
            authors' files; pass "simclr" for a port of them that has torchvision's names.
        ema: Whether to load the exponential moving average of the weights, which some TF1
            checkpoints contain. Defaults to False.
        allow_supervised: Whether to load a network that was, or may have been, trained with labels
            only: it has a classification head, and no projection head or an untrained one. Defaults
            to False.
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
    settings = {"value_range": value_range, "image_size": image_size, "seed": seed, **kwargs}
    check_arguments(
        head_on=head_on,
        style=style,
        normalization=normalization,
        ema=ema,
        allow_supervised=allow_supervised,
        **settings,
    )
    arrays = _wanted(path) if isinstance(path, dict) else load_arrays(path, _is_no_optimizer_state)
    choose_copy(arrays, ema)
    network = find_network(arrays)
    set_style(network, style, normalization)
    if not allow_supervised:
        check_not_supervised(network, arrays)
    head_on = place_of_logits(network, arrays, head_on)
    model = _model(network, arrays, settings)
    classifier = _classifier(network, arrays, model, head_on) if network.logits else None
    return LoadedCheckpoint(model, classifier, bool(network.head))


def check_arguments(
    *,
    head_on: Any = None,
    style: Any = None,
    normalization: Any = None,
    ema: Any = False,
    allow_supervised: Any = False,
    **settings: Any,
) -> None:
    """Check arguments of `load_checkpoint` that can be wrong for any file.

    Raises:
        ValueError: If there is no such argument, or its value is wrong.
    """
    for name, value, choices in (("head_on", head_on, HEADS), ("style", style, STYLES)):
        if value is not None:
            check_choice(name, value, choices)
    for name, value in (("ema", ema), ("allow_supervised", allow_supervised)):
        check_choice(name, value, (False, True))
    if normalization is not None:
        check_normalization(normalization)
    for name in OF_FILE:
        if name in settings:
            raise ValueError(
                f"`{name}` must be that of the checkpoint. Received: {name}={settings[name]!r}. "
                "Leave it out."
            )
    known = {*inspect.signature(SimCLR).parameters, *OF_KERAS} - {*OF_FILE, "kwargs"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(
            "The arguments must be those of `load_checkpoint` or of `SimCLR`. Received: "
            f"{', '.join(unknown)}. Those of `SimCLR` are {', '.join(sorted(known))}."
        )
    SimCLR("resnet18", **{**settings, "seed": 0})  # which checks its own


def _wanted(arrays):
    return {name: array for name, array in arrays.items() if _is_no_optimizer_state(name)}


def _is_no_optimizer_state(name):
    return not OPTIMIZER.search(name)


def _model(network, arrays, settings):
    """Return the `SimCLR` of a network, with its arrays, which are removed from `arrays`."""
    size = settings["image_size"] or (32 if network.resnet.stem == "cifar" else 224)
    model = SimCLR(
        network.resnet,
        projection_head=projection_head(network, arrays, settings.get("dtype")),
        **{**settings, "image_size": size},
    )
    if not network.head:
        with python_random(model.sub_seed("weights")):
            model.projection_head.build((None, network.resnet.output_dim))
    with zero_initial_weights():
        model.build((None, *model.image_size, network.channels))
    assign(network, arrays, weights_of_encoder(model.encoder), network.layers)
    if network.head:
        names = dict(enumerate(network.head))
        assign(network, arrays, weights_of_head(model.projection_head), names)
    model.pretrained = True
    return model


def _classifier(network, arrays, model, head_on):
    """Return a classifier with the classification head of a network."""
    kernel = network.take(arrays, network.logits["kernel"])
    bias = np.zeros(kernel.shape[1], "float32")
    if "bias" in network.logits:
        bias = network.take(arrays, network.logits["bias"])
    projection_layers = int(head_on == "projection")
    with zero_initial_weights():
        classifier = build_classifier(model, kernel.shape[1], projection_layers=projection_layers)
    classifier.get_layer("logits").set_weights([kernel, bias])
    return classifier
