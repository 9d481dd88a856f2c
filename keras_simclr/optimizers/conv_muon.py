"""Muon, for the kernels of convolutions as well."""

import math
import re
from typing import Any

import keras
from keras import ops

from keras_simclr.ops.newton_schulz import orthogonalize


@keras.saving.register_keras_serializable(package="keras_simclr")
class ConvMuon(keras.optimizers.Muon):
    """Muon that orthogonalizes the steps of all kernels, also of those of convolutions.

    `keras.optimizers.Muon` trains matrices by Muon and everything else by AdamW, and thus nearly
    all weights of a convolutional network by AdamW. Here a kernel (h, w, C_in, C_out) is a matrix
    (h * w * C_in, C_out): its step is approximately the orthogonal matrix nearest to its momentum,
    scaled so that its elements are as large as those of a step of AdamW. A GPU computes it in
    bfloat16. Biases and normalization layers are trained by AdamW.

    Args:
        *args: Those of `keras.optimizers.Muon`, first the learning rate.
        name: Name of the optimizer. Defaults to "conv_muon".
        **kwargs: Those of `keras.optimizers.Muon`.

    Example:
    A step has the same size in all directions, whatever the gradient.
    >>> kernel = keras.Variable(ops.zeros((1, 1, 2, 2)), name="kernel")
    >>> optimizer = ConvMuon(1.0, weight_decay=0.0, rms_rate=None)
    >>> optimizer.apply([ops.array([[[[-100.0, 0.0], [0.0, -1.0]]]])], [kernel])
    >>> ops.convert_to_numpy(kernel).round().tolist()
    [[[[1.0, 0.0], [0.0, 1.0]]]]

    References:
        Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); the scale: Liu et al. 2025
        (arXiv:2502.16982), section 2.2.
    """

    def __init__(self, *args: Any, name: str = "conv_muon", **kwargs: Any):
        super().__init__(*args, name=name, **kwargs)

    def _should_use_adamw(self, variable):
        if len(variable.shape) <= 2:
            return super()._should_use_adamw(variable)
        return any(re.search(pattern, variable.path) for pattern in self.exclude_layers)

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Return approximately the orthogonal matrix nearest to a kernel, in its shape."""
        matrix = ops.cast(ops.reshape(x, (-1, x.shape[-1])), "float32")
        matrix = orthogonalize(matrix, (self.muon_a, self.muon_b, self.muon_c), steps)
        return ops.reshape(ops.cast(matrix, x.dtype), x.shape)

    def lr_adjust(self, x: Any) -> Any:
        """Scale an orthogonal step so that its root mean square is `rms_rate`."""
        if self.rms_rate is None:
            return x
        columns = x.shape[-1]
        return x * (math.sqrt(max(math.prod(x.shape[:-1]), columns)) * self.rms_rate)
