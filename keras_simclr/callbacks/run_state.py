"""The state of a run: variables, callbacks and random generators, and the settings of the run."""

import dataclasses
import json
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_simclr.keras_internals import CALLBACK_STATE, EpochStart
from keras_simclr.ops.seeds import random_states

RATE_CALLBACKS = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)
IGNORED_KEYS = {"name", "keras_history", "input_layers", "output_layers", "shared_object_id"}


@dataclasses.dataclass(frozen=True)
class Run:
    """What `SimCLR.fit` and `fine_tune` know about their run.

    Args:
        settings: Function that returns what a resumed run must have in common with the interrupted
            one, for JSON. It is called only if there are backups.
        sample: Digest of the first images, which changes with the data or their order.
        initial_epoch: Epochs that count as done when the run begins.
        start: Where the first epoch starts.
    """

    settings: Callable[[], dict]
    sample: str
    initial_epoch: int = 0
    start: EpochStart = dataclasses.field(default_factory=EpochStart)


def state_variables(model):
    """Return the variables of a model and its optimizer, metrics and seeds included, by name."""
    found = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    unique = {id(variable): variable for variable in found}.values()
    return {f"variable_{index}": variable for index, variable in enumerate(unique)}


def first_nonfinite(model: keras.Model, arrays: dict | None = None) -> str | None:
    """Return the path of the first weight of a model that has NaN or infinity, or None.

    Args:
        model: A compiled model.
        arrays: Those of `get_state`, if available. Defaults to None.
    """
    weights = {id(variable) for variable in model.weights}
    for name, variable in state_variables(model).items():
        if id(variable) in weights and keras.backend.is_float_dtype(variable.dtype):
            if not np.isfinite(arrays[name] if arrays else _to_numpy(variable)).all():
                return variable.path
    return None


def get_state(model, callbacks, one_process):
    """Return the state of a run: NumPy arrays by name, and a dict for JSON.

    The states of random generators, which differ from one process to another, are only returned
    for `one_process`.
    """
    states, arrays = _get_callback_states(callbacks)
    arrays.update({name: _to_numpy(value) for name, value in state_variables(model).items()})
    if one_process:
        arrays.update({f"random_{name}": state for name, state in random_states().items()})
    return arrays, {"callbacks": states}


def get_random_states(arrays, names=None):
    """Return those of the `random_states` in the arrays of `get_state` that have these names."""
    stored = {name.removeprefix("random_"): name for name in arrays if name.startswith("random_")}
    return {name: arrays[key] for name, key in stored.items() if names is None or name in names}


def _to_numpy(variable):
    return _storable(ops.convert_to_numpy(variable))


def _storable(array):
    """Return an array of a dtype that NumPy can store: bfloat16 and float8 become float32."""
    return array.astype("float32") if array.dtype.kind == "V" else array


def set_variables(model, arrays, metrics):
    """Set the metrics' variables (`metrics=True`) or all others to those of `get_state`."""
    metrics_ids = {id(variable) for variable in model.metrics_variables}
    for name, variable in state_variables(model).items():
        if (id(variable) in metrics_ids) == metrics:
            variable.assign(arrays[name])


def check_shapes(model, arrays):
    """Raise a ValueError unless a model's variables have the shapes of those in a backup."""
    expected = [tuple(variable.shape) for variable in state_variables(model).values()]
    found = [arrays[name].shape for name in arrays if name.startswith("variable_")]
    if expected == found:
        return
    pairs = [pair for pair in zip(expected, found, strict=False) if pair[0] != pair[1]]
    first = f", the first that differs of shapes {pairs[0][0]} and {pairs[0][1]}" if pairs else ""
    raise ValueError(
        "The backup belongs to another model or optimizer. Received: "
        f"{len(expected)} variables in the model and {len(found)} in the backup{first}. Create "
        "the model as it was, or choose another folder."
    )


def _get_callback_states(callbacks):
    """Return the states of callbacks as a dict for JSON, and their arrays by name.

    These are the counters and best values of Keras' callbacks, and of any other callback what its
    method `get_state` returns.
    """
    states, arrays = {}, {}
    for key, callback in _by_key(callbacks):
        state = {}
        for name in _attributes(callback):
            value = getattr(callback, name, None)
            if name == "best_weights" and value is not None:
                arrays.update({f"{key}_{i}": _storable(w) for i, w in enumerate(value)})
                value = len(value)
            state[name] = value.item() if isinstance(value, np.generic) else value
        if hasattr(callback, "get_state"):
            state = _for_json(callback)
        if state:
            states[key] = state
    return states, arrays


def _attributes(callback):
    """Return the names of the attributes that hold the state of one of Keras' callbacks."""
    kinds = [names for kind, names in CALLBACK_STATE.items() if isinstance(callback, kind)]
    return kinds[0] if kinds else ()


def _for_json(callback):
    try:
        return json.loads(json.dumps(callback.get_state(), default=lambda value: value.item()))
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(
            f"`get_state` of {type(callback).__name__} must return what JSON can represent. "
            f"Received: {callback.get_state()!r}. Return numbers, strings, lists and dicts."
        ) from error


def set_callback_states(callbacks, states, arrays):
    """Set the states of callbacks to those of `get_state`."""
    for key, callback in _by_key(callbacks):
        if key not in states:
            continue
        if hasattr(callback, "set_state"):
            callback.set_state(states[key])
            continue
        for name in _attributes(callback):  # no other attribute, whatever is in the file
            value = states[key].get(name)
            if name == "best_weights" and value is not None:
                value = [arrays[f"{key}_{i}"] for i in range(value)]
            setattr(callback, name, value)


def _by_key(callbacks):
    """Pair each callback with its class name and number among the callbacks of its class."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        name = type(callback).__name__
        counts[name] = counts.get(name, -1) + 1
        yield f"{name}_{counts[name]}", callback


def check_settings(path, record, settings, sample):
    """Raise a ValueError if a backup is from a run with other settings.

    Warn if the first images of that run were different ones.
    """
    found = differences(record["settings"], settings)
    if found:
        raise ValueError(
            f"The backup {path} belongs to another run. Received: {'; '.join(found[:5])}. Repeat "
            "the settings of that run to resume it, or choose another folder, or delete the "
            "backup to start over."
        )
    if record["sample"] != sample:
        warnings.warn(
            "The first batch of the dataset is not the one that the interrupted run began with, "
            "so the resumed run sees other images than the interrupted one would have seen. Pass a "
            "seed where the dataset is shuffled.",
            stacklevel=2,
        )


def optimizer_config(optimizer: Any, callbacks: list) -> dict[str, Any]:
    """Return the config of an optimizer, without a learning rate that one of the callbacks sets."""
    config = plain_config(optimizer.get_config())
    if any(isinstance(callback, RATE_CALLBACKS) for callback in callbacks):
        config.pop("learning_rate")  # it changes in the run, and is in the state
    return config


def plain_config(config: Any) -> Any:
    """Return a config as JSON represents it, without names and seeds, which Keras draws."""
    if isinstance(config, dict) and set(config) == {"name"}:
        return config  # of a dtype policy, say, which consists of its name
    if isinstance(config, dict):
        kept = {key: value for key, value in config.items() if key not in IGNORED_KEYS | {"seed"}}
        return {str(key): plain_config(value) for key, value in kept.items()}
    if isinstance(config, (list, tuple)):
        return [plain_config(value) for value in config]
    if isinstance(config, (np.generic, np.ndarray)):
        return config.tolist()
    return json.loads(json.dumps(config, default=lambda value: type(value).__name__))


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return where two JSON values differ, as "path: old instead of new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        parts = [(f"{path}.{key}" if path else key, old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        return [] if old == new else [f"{path} is {new!r} and was {old!r}"]
    return [text for name, one, other in parts for text in differences(one, other, name)]
