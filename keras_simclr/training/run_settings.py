"""What a resumed run must have in common with the interrupted one."""

import inspect
import warnings
from typing import Any

import keras

from keras_simclr.callbacks.run_state import plain_config
from keras_simclr.ops.digest import digest

CHANGEABLE = {"micro_batch_size"}  # settings that may change from one part of a run to the next


def run_settings(model: Any, data: Any, **others: Any) -> dict[str, Any]:
    """Return the settings of a run on `data`, as JSON represents them.

    Args:
        model: The `SimCLR` model.
        data: `PreparedData` or `LabeledData`.
        **others: Other settings.
    """
    images: dict[str, Any] = {"shape": list(data.images.shape[1:]), "dtype": str(data.images.dtype)}
    if data.is_array:
        images.update(count=len(data.images), digest=digest(data.fingerprint()))
    return {
        **others,
        "seed": model.seed,
        "batch_size": data.batch_size,
        "steps_per_epoch": data.steps_per_epoch,
        "images": images,
        "model": config_of(model),
    }


def config_of(part: Any) -> Any:
    """Return the config of a model, layer, loss or function, as JSON represents it.

    Of what cannot be saved it is None; then only the shapes of weights are compared.
    """
    if inspect.isfunction(part):
        return part.__qualname__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lambdas are only compared here, not saved
            config = keras.saving.serialize_keras_object(part)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None
    if isinstance(config, dict) and isinstance(config.get("config"), dict):
        config = {key: v for key, v in config["config"].items() if key not in CHANGEABLE}
    return plain_config(config)
