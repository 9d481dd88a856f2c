"""What a resumed run must have in common with the interrupted one."""

import hashlib
from typing import Any

import numpy as np

from keras_simclr.callbacks.run_state import plain_config
from keras_simclr.data.prepare import spread_sample

FREE = {"micro_batch_size"}  # settings that may change from one part of a run to the next


def run_settings(model: Any, data: Any, **others: Any) -> dict[str, Any]:
    """Return the settings of a run on `data`, as JSON represents them.

    Args:
        model: The `SimCLR` model.
        data: `PreparedData` or `LabeledData`.
        **others: Other settings.
    """
    images: dict[str, Any] = {"shape": list(data.images.shape[1:]), "dtype": str(data.images.dtype)}
    if data.is_array:
        images.update(count=len(data.images), digest=digest(spread_sample(data.images)))
    return {
        **others,
        "seed": model.seed,
        "batch_size": data.batch_size,
        "steps_per_epoch": data.steps_per_epoch,
        "images": images,
        "model": _model_config(model),
    }


def _model_config(model):
    try:
        config = model.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None  # a backbone that cannot be saved; the shapes of its weights are compared
    return plain_config({key: value for key, value in config.items() if key not in FREE})


def digest(images: Any) -> str:
    """Return a digest of the bytes of an array."""
    return hashlib.blake2b(np.ascontiguousarray(images).tobytes(), digest_size=8).hexdigest()
