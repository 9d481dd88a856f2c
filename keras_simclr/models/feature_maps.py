"""The feature maps inside an encoder, for detection and segmentation."""

import re

import keras

from keras_simclr.models.resnet import ResNet

OTHER_OUTPUTS = {
    "stem_conv": "initial_conv",
    "stem_conv3": "initial_conv",
    "stem_pool": "initial_max_pool",
    "h": "final_avg_pool",
}
BLOCK_OUTPUT = re.compile(r"stage(\d)_block(\d+)_out")


def feature_maps(encoder: keras.Model) -> keras.Model:
    """Return a model from images to the feature maps of a `ResNet` encoder.

    Args:
        encoder: The `encoder` of a `SimCLR` whose backbone is a `ResNet` of this package.

    Returns:
        A functional `keras.Model` that shares the layers of the encoder. It returns a dict by the
        names of the authors' code: "initial_conv" (before its norm), "initial_max_pool" (absent
        with the CIFAR stem), "block_group1" to "block_group4", of shape (N, h, w, channels), and
        "final_avg_pool", the features h.

    Raises:
        ValueError: If the encoder has other layers.

    Example:
    >>> from keras_simclr import SimCLR
    >>> model = SimCLR("resnet18", seed=0)
    >>> model.build((None, 32, 32, 3))
    >>> feature_maps(model.encoder).output["block_group3"].shape
    (None, None, None, 256)
    """
    names = {layer.name for layer in encoder.layers}
    blocks = sorted(
        (int(match[1]), int(match[2]), name)
        for name in names
        if (match := BLOCK_OUTPUT.fullmatch(name))
    )
    found = {f"block_group{stage}": name for stage, _, name in blocks}  # the last of each stage
    found |= {OTHER_OUTPUTS[name]: name for name in names & set(OTHER_OUTPUTS)}
    if len(found) < 6:
        raise ValueError(
            f"`encoder` must be the encoder of a `SimCLR` with a `{ResNet.__name__}`. Received: "
            f"{encoder!r} with the layers {', '.join(sorted(names)[:5])}, ..."
        )
    outputs = {key: encoder.get_layer(name).output for key, name in sorted(found.items())}
    return keras.Model(encoder.inputs, outputs, name="feature_maps")
