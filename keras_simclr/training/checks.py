"""What is looked at before any training, so that bad input ends in a sentence and not in a run."""

import zlib

import keras
import numpy as np

from keras_simclr import distribution

BLOCK = 1024  # pictures looked at in one go
TOLERANCE = 0.01  # of the value range: how far beyond it a resized picture may reach


def check_pictures(images, value_range, name="pictures"):
    """Raise a ValueError that names the cure if `images` cannot be trained on.

    Args:
        images: NumPy array; looked at whole, a block at a time. Integers are not read: their
            values cannot be out of range in a way that harms.
        value_range: (low, high) that the model was told to expect.
        name: What to call the pictures in an error.

    Raises:
        ValueError: If the rank is not 4, channels come first, there are no pictures, a value is
            NaN or infinite, or the values plainly are in another range.
    """
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(
            f"{name} must have the shape (N, height, width, channels). Received: shape={shape}. "
            + _rank_cure(len(shape))
        )
    if shape[0] == 0:
        raise ValueError(f"There are no {name}. Received: shape={shape}.")
    if shape[1] in (1, 3, 4) and shape[3] not in (1, 3, 4) and min(shape[2:]) > 4:
        raise ValueError(
            f"{name} must have their channels last: (N, height, width, channels). Received: "
            f"shape={shape}, which looks like channels first. Use "
            "`images.transpose(0, 2, 3, 1)` (in PyTorch: `images.permute(0, 2, 3, 1)`)."
        )
    if images.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be integers or floats. Received: dtype={images.dtype}.")
    if images.dtype.kind == "f":
        _check_range(*_extremes(images, name), value_range, name)


def check_no_views(labels=None):
    """Raise a ValueError if pictures were given in the place of labels."""
    if len(getattr(labels, "shape", ())) == 4:
        raise ValueError(
            "Give the pictures only: the two views are made by the model. Received: labels of "
            f"shape={tuple(labels.shape)}."
        )


def check_micro_batch_size(size, batch_size=None):
    """Return `size`, or raise a ValueError if it is too small or does not divide `batch_size`."""
    if size is None:
        return None
    if not isinstance(size, int) or size < 2:
        raise ValueError(
            "`micro_batch_size` must be an integer of at least 2, since BatchNormalization takes "
            f"its statistics from a micro-batch. Received: micro_batch_size={size!r}."
        )
    if batch_size is not None and batch_size % size:
        raise ValueError(
            "The pictures of a batch on one device must be a multiple of `micro_batch_size`. "
            f"Received: {batch_size} pictures on a device, micro_batch_size={size}."
        )
    return size


def check_shares(first, batch_size, micro_batch_size=None, count=None):
    """Raise a ValueError unless batches can be shared by devices and micro-batches.

    Args:
        first: Some pictures of the data, which must be the same in all processes.
        batch_size: Pictures a batch.
        micro_batch_size: Pictures that a device works on at once, or None.
        count: Number of all pictures, if it is known.
    """
    devices = distribution.devices()
    if batch_size % devices:
        raise ValueError(
            "Every device must have as many pictures, so the batch size must be a multiple of "
            f"the number of devices. Received: {batch_size} pictures in a batch, {devices} devices."
        )
    check_micro_batch_size(micro_batch_size, batch_size // devices)
    sizes = repr((count, batch_size)).encode()
    if not distribution.agree(zlib.crc32(np.ascontiguousarray(first).tobytes() + sizes) >> 1):
        raise ValueError(
            "Every process must be given the same data in the same order, of which each takes its "
            "part by itself. Received: other pictures, or another number, in another process. Give "
            "all a dataset with one seed, or an array, without a sampler for each process."
        )


def _rank_cure(rank):
    if rank == 3:
        return "Batch the dataset, or add the missing axis with `images[..., None]`."
    return "Give one array of pictures: the two views are made by the model."


def _extremes(images, name):
    lowest, highest = np.inf, -np.inf
    for start in range(0, len(images), BLOCK):
        block = np.asarray(images[start : start + BLOCK], dtype="float32")
        finite = np.isfinite(block)
        if not finite.all():
            bad = start + int(np.argmin(finite.all(axis=(1, 2, 3))))
            raise ValueError(
                f"{name} must be finite. Received: NaN or infinity in picture {bad}. "
                "Repair it or leave it out."
            )
        lowest, highest = min(lowest, block.min()), max(highest, block.max())
    return float(lowest), float(highest)


def _check_range(lowest, highest, value_range, name):
    low, high = value_range
    received = f"Received: values from {lowest:.4g} to {highest:.4g}, value_range={value_range}."
    if (low, high) == (0, 255) and lowest >= 0 and highest <= 1 and highest > lowest:
        raise ValueError(
            f"{name} lie within [0, 1], but {value_range} was promised. {received} "
            "Pass `value_range=(0, 1)` to the model, or multiply the pictures by 255."
        )
    margin = TOLERANCE * (high - low)
    standardized = lowest < low and highest < low + 2 * margin
    if standardized or highest > high + margin or lowest < low - margin:
        raise ValueError(
            f"{name} lie outside of the range that was promised. {received} Pass the "
            "`value_range` of your pictures to the model, or scale them."
        )


class StopOnNonFinite(keras.callbacks.Callback):
    """End a run whose loss or gradients have become NaN or infinite, before it is saved."""

    def on_epoch_end(self, epoch, logs=None):
        """Raise an ArithmeticError if the epoch's loss is not finite, or its loss scale used up."""
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            raise ArithmeticError(
                f"The loss became {loss} in epoch {epoch + 1}. Lower the learning rate, raise the "
                "temperature, or look for damaged pictures; the last backup is from before."
            )
        _check_loss_scale(self.model.optimizer, epoch)


def _check_loss_scale(optimizer, epoch):
    """Raise an ArithmeticError if Keras halved the loss scale until it is below 1."""
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is None:
        return
    scale = float(keras.ops.convert_to_numpy(scale))
    if scale < min(1, optimizer.initial_scale):
        raise ArithmeticError(
            "The gradients must be finite at some loss scale. Received: a loss scale that fell "
            f"from {optimizer.initial_scale:g} to {scale:g} by epoch {epoch + 1}, and every step "
            "whose gradients overflow is skipped. Use the dtype policy `mixed_bfloat16`, lower "
            "the learning rate, or compile with a `keras.optimizers.LossScaleOptimizer` that has "
            "another `initial_scale`."
        )
