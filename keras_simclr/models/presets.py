"""Published checkpoints as models."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras

from keras_simclr.models.simclr import SimCLR


@dataclasses.dataclass(frozen=True)
class LoadedCheckpoint:
    """What `load_checkpoint` returns.

    Attributes:
        model: A built `SimCLR` with the encoder of the file and, if it has one, its projection
            head.
        classifier: A `keras.Model` from images to class probabilities with a copy of the encoder
            and the classification head of the file, whose layer is named "logits"; None if the
            file has no classification head.
    """

    model: SimCLR
    classifier: keras.Model | None


def load_checkpoint(
    path: str | os.PathLike,
    *,
    value_range: tuple[float, float] = (0, 255),
    head_on: str | None = None,
    normalization: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    ema: bool = False,
    allow_supervised: bool = False,
    image_size: int | tuple[int, int] | None = None,
    seed: int | None = None,
    **kwargs: Any,
) -> LoadedCheckpoint:
    """Load a published checkpoint as a `SimCLR` and, if it has one, a classifier."""
    raise NotImplementedError
