"""The arrays of a checkpoint as weights of an encoder and of heads."""

from typing import Any

import keras
import numpy as np

from keras_simclr.keras_internals import flatten_layers
from keras_simclr.models.network_arrays import Network
from keras_simclr.models.projection_head import ProjectionHead


def projection_head(network: Network, arrays: dict[str, np.ndarray], dtype: Any) -> Any:
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
            dtype=dtype,
        )
    return _sequential_head(head, widths, dtype)


def _sequential_head(head, widths, dtype):
    """Return a head that `ProjectionHead` does not describe, as stock layers."""
    stack: list[keras.layers.Layer] = []
    for index, (layer, width) in enumerate(zip(head, widths, strict=True)):
        stack.append(
            keras.layers.Dense(width, use_bias="bias" in layer, name=f"dense_{index}", dtype=dtype)
        )
        if "moving_mean" in layer:
            stack.append(_norm(layer, name=f"bn_{index}", dtype=dtype))
        if index < len(head) - 1:
            stack.append(keras.layers.ReLU(name=f"relu_{index}", dtype=dtype))
    stack.append(keras.layers.Activation("linear", name="z", dtype="float32"))
    return keras.Sequential(stack, name="projection_head")


def _norm(weights, **kwargs):
    center, scale = "beta" in weights, "gamma" in weights
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, center=center, scale=scale, **kwargs
    )


def weights_of_encoder(encoder: keras.Model) -> dict[str, dict[str, Any]]:
    """Return {layer: {weight: variable}} of the layers of an encoder that have weights."""
    found = {}
    for layer in flatten_layers(encoder):
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.BatchNormalization)):
            found[layer.name] = {variable.name: variable for variable in layer.variables}
    return found


def weights_of_head(head: keras.layers.Layer) -> dict[int, dict[str, Any]]:
    """Return {index: {weight: variable}} of the dense layers of a head and the norms after them."""
    stack = head.stack if isinstance(head, ProjectionHead) else head.layers
    found: dict[int, dict[str, Any]] = {}
    for layer in stack:
        if isinstance(layer, keras.layers.Dense):
            found[len(found)] = {}
        if found:
            found[len(found) - 1].update({variable.name: variable for variable in layer.variables})
    return found


def assign(
    network: Network,
    arrays: dict[str, np.ndarray],
    variables: dict[Any, dict[str, Any]],
    names: dict[Any, dict[str, str]],
) -> None:
    """Assign arrays to variables, after all names and shapes have been checked.

    Args:
        network: The network of the arrays.
        arrays: Arrays by name; those that are assigned are removed.
        variables: {layer: {weight: variable}}.
        names: {layer: {weight: name of the array}}.

    Raises:
        ValueError: If an array is missing, superfluous or of a wrong shape.
    """
    for layer in {**variables, **names}:
        expected, found = variables.get(layer, {}), names.get(layer, {})
        if set(expected) != set(found):
            raise ValueError(
                f"The layer {layer!r} must have the weights: {', '.join(expected) or 'none'}. "
                f"Received: {', '.join(found.values()) or 'none'}."
            )
    pairs = [(v, names[layer][key]) for layer, of in variables.items() for key, v in of.items()]
    for variable, name in pairs:
        shape = network.shape(arrays, name)
        if shape != tuple(variable.shape):
            raise ValueError(
                f"The array {name!r} must have the shape {tuple(variable.shape)}, in Keras' order "
                f"of axes. Received: {shape}."
            )
    for variable, name in pairs:
        variable.assign(network.take(arrays, name))
