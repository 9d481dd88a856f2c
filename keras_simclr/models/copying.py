"""Copies of live Keras models."""

import contextlib
import warnings

import keras

from keras_simclr.keras_internals import (
    flatten_layers,
    is_functional,
    safe_mode,
    zero_initial_weights,
)
from keras_simclr.ops.seeds import derive_seed, python_random


def copy_model(model: keras.Model) -> keras.Model:
    """Return a copy of a functional model, with its weights and `trainable` flags.

    Raises:
        ValueError: If a layer cannot be copied.
    """
    problem = _uncopyable(model)
    if problem:
        raise ValueError(f"The encoder cannot be copied. Received: {problem}")
    with _live_configs(model), zero_initial_weights():
        copy = keras.models.clone_model(model)
    for weight, original in zip(copy.weights, model.weights, strict=True):
        weight.assign(keras.ops.convert_to_numpy(original))
    for original, layer in zip(flatten_layers(model), flatten_layers(copy), strict=True):
        layer.trainable = original.trainable
    return copy


def untrained_copy(model, seed):
    """Return a `SimCLR` with the settings of a built one, `seed` and new random weights."""
    config = {**model.get_config(), "seed": seed}
    with _live_configs(model), python_random(derive_seed(seed)):
        copy = model.__class__.from_config(config)
        copy.build((None, *model.view_shape))
    copy.plan_epochs(model.planned_epochs)
    for layer in flatten_layers(copy.encoder):
        layer.trainable = True
    return copy


def new_model_like(model: keras.Model, seed: int) -> keras.Model:
    """Return a functional model of the same architecture, with new weights drawn from `seed`."""
    with _live_configs(model), python_random(seed):
        copy = keras.models.clone_model(model)
    for layer in flatten_layers(copy):
        layer.trainable = True
    return copy


def copy_layer_onto(layer, inputs):
    """Apply a copy of a built layer, with its weights, to symbolic `inputs`."""
    with python_random(0), zero_initial_weights():
        copy = layer.__class__.from_config(layer.get_config())
        outputs = copy(inputs)
    copy.set_weights(layer.get_weights())
    return outputs


def warn_if_uncopyable(model: keras.Model) -> None:
    """Warn before training if a model can be neither fine-tuned nor loaded."""
    problem = _uncopyable(model)
    if problem:
        warnings.warn(
            f"The backbone cannot be copied, so `fine_tune` and loading will fail: {problem}",
            stacklevel=3,
        )


def _uncopyable(model):
    """Return a description of the first layer that its config cannot restore, or None."""
    with _live_configs(model):
        for layer in flatten_layers(model):
            if is_functional(layer):
                continue
            try:
                layer.__class__.from_config(layer.get_config())
            except Exception as error:
                return (
                    f"the layer {layer.name!r} of the class `{type(layer).__name__}` cannot be "
                    f"restored from its config ({type(error).__name__}). Add a `get_config` to the "
                    "class that returns the arguments of its `__init__`."
                )
    return None


@contextlib.contextmanager
def _live_configs(model):
    """Let configs refer to the classes of a live model and contain its Python lambdas.

    Lambdas are allowed only if the model has some: one that Keras loaded from a file in its safe
    mode has none, and what its configs claim to be one is code of somebody else. Keras finds its
    own classes without help, and gives some layers and operations the same name. Initializers draw
    seeds when they are created; the user's random state is not affected.
    """
    classes = {
        type(layer).__name__: type(layer)
        for layer in flatten_layers(model)
        if not type(layer).__module__.startswith("keras.")
    }
    scope = keras.saving.custom_object_scope(classes)
    with scope, safe_mode(not any(map(_has_lambda, flatten_layers(model)))), python_random(0):
        yield


def _has_lambda(layer):
    values = list(vars(layer).values())
    for value in vars(layer).values():
        if isinstance(value, (list, tuple)):
            values.extend(value)
        elif isinstance(value, dict):
            values.extend(value.values())
    return any(getattr(value, "__name__", None) == "<lambda>" for value in values)
