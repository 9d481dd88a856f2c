"""Operations that PyTorch and `keras.ops` call by the same names.

On PyTorch, the checks of `keras.ops` take tens of microseconds per call, as long as the operation
itself on a chunk of images.
"""

from typing import Any

import keras

native: Any = keras.ops
if keras.backend.backend() == "torch":
    import torch

    native = torch
