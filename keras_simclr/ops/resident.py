"""Images that stay on the GPU during a training."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution
from keras_simclr.ops.forms import for_gpu

FRACTION = 1 / 4  # of the free memory of the GPU that images may take


def resident_images(images: np.ndarray) -> Any:
    """Return images on the GPU, to be indexed by rows, or None if they stay on the host.

    They stay there if they are uint8 and take at most a quarter of the free memory, on JAX and
    PyTorch with one device: Keras reads batches for TensorFlow from the host.

    Args:
        images: Array of shape (N, H, W, C).
    """
    reads_tensors = keras.backend.backend() in ("jax", "torch")
    if not (for_gpu() and reads_tensors and distribution.num_devices() == 1):
        return None
    if images.dtype != "uint8" or images.nbytes > FRACTION * _free_memory():
        return None
    return _ResidentImages(images)


class _ResidentImages:
    def __init__(self, images):
        self.images = ops.convert_to_tensor(np.asarray(images))

    def __getitem__(self, rows):
        """Return the images of the rows, a NumPy array of integers, without waiting."""
        if keras.backend.backend() == "jax":
            return self.images[rows]
        import torch

        index = torch.from_numpy(rows)
        if self.images.is_cuda:
            index = index.pin_memory()
        return self.images[index.to(self.images.device, non_blocking=True)]


def _free_memory():
    """Return the bytes of memory that are free on the device, or infinity if unknown."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else np.inf
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in statistics:
        return np.inf
    return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
