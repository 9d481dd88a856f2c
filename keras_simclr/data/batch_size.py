"""Batch sizes: defaults, and the requirements of devices and micro-batches."""

import zlib

import numpy as np

from keras_simclr import distribution
from keras_simclr.validation import check_positive_integer

DEFAULT_BATCH_SIZE = 256


def check_two_images(count, batch_size):
    """Raise a ValueError unless there are enough images for batches of at least two."""
    if count < 2 or batch_size < 2:
        raise ValueError(
            "Contrastive learning needs at least 2 images per batch. Received: "
            f"{count} images in total, batch_size={batch_size}."
        )
    if batch_size > count:
        raise ValueError(
            f"`batch_size` must not exceed the number of images. Received: "
            f"batch_size={batch_size} with {count} images. Omit it to use the default."
        )


def check_no_batch_size(dataset, batch_size):
    """Raise a ValueError if `batch_size` was passed with a dataset."""
    if batch_size is not None:
        raise ValueError(
            "`batch_size` is only supported for arrays; a dataset is already batched. Received: "
            f"batch_size={batch_size} with {type(dataset).__name__}."
        )


def check_shards(first, batch_size, micro_batch_size=None, count=None):
    """Raise a ValueError unless a batch can be split over devices and micro-batches.

    Args:
        first: First images of the data, which must be the same in all processes.
        batch_size: Images per batch.
        micro_batch_size: Images that a device processes at a time, or None for all.
        count: Total number of images, if known.
    """
    num_devices = distribution.num_devices()
    if batch_size % num_devices:
        raise ValueError(
            "The batch size must be a multiple of the number of devices. Received: "
            f"{batch_size} images per batch, {num_devices} devices."
        )
    _check_micro_batches(micro_batch_size, batch_size // num_devices)
    sizes = repr((count, batch_size)).encode()
    checksum = zlib.crc32(np.ascontiguousarray(first).tobytes() + sizes) >> 1
    if not distribution.same_on_all_processes(checksum):
        raise ValueError(
            "Every process must be given the same data in the same order, and takes its own shard "
            "of each batch. Received: different images, or a different number of them, in another "
            "process. Pass the same array, or a dataset with the same seed, in every process, and "
            "no distributed sampler."
        )


def _check_micro_batches(size, images_per_device):
    if size is not None and images_per_device % size:
        raise ValueError(
            "The number of images per device must be a multiple of `micro_batch_size`. "
            f"Received: {images_per_device} images per device, micro_batch_size={size}."
        )


def checked_batch_size(batch_size, count):
    """Return `batch_size`, or the default for `count` images if it is None.

    Raises:
        ValueError: If `batch_size` is not a positive integer.
    """
    if batch_size is None:
        return default_batch_size(count)
    check_positive_integer("batch_size", batch_size)
    return batch_size


def default_batch_size(count):
    """Return 256, or with fewer images the largest power of two that gives a full batch."""
    return min(DEFAULT_BATCH_SIZE, 2 ** (max(count, 1).bit_length() - 1))


def sharded_batch_size(count, batch_size, multiple):
    """Return a batch size that gives a full batch; by default, one that drops few images.

    The default is a multiple of `multiple`, and large so that each image has many negatives.
    """
    if count < multiple:
        raise ValueError(
            "There must be at least one image, or one micro-batch if it is set, per device. "
            f"Received: {count} images, but at least {multiple} are needed."
        )
    if batch_size:
        return batch_size if batch_size <= count else count - count % multiple
    largest = max(min(DEFAULT_BATCH_SIZE, count), multiple)
    sizes = [s for s in range(multiple, largest + 1, multiple) if 2 * s >= largest - multiple]
    return min(sizes, key=lambda size: (count % size, -size))
