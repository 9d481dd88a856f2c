"""Padding of batches, so that they can be sharded over several devices."""

import numpy as np

from keras_simclr import distribution
from keras_simclr.data.array_dataset import take_shard
from keras_simclr.data.inspection import images_as_numpy, iterate_batches


def pad(images, size):
    """Pad images to `size` rows by repeating the last one."""
    return np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])


def size_for_devices(count):
    """Return the smallest multiple of the number of devices that is not below `count`."""
    return count + -count % distribution.num_devices()


def pad_batches(dataset):
    """Pad each batch to a multiple of the number of devices by repeating its last image.

    Args:
        dataset: Dataset of images.

    Returns:
        A generator of this process's shard of each padded batch, and a list to which the
        generator appends (size without padding, size with padding) for each batch.
    """
    counts = []

    def padded():
        for batch in iterate_batches(dataset):
            images = images_as_numpy(batch)
            size = size_for_devices(len(images))
            counts.append((len(images), size))
            yield (take_shard(pad(images, size), distribution.data_shard()),)

    return padded(), counts


def remove_padding(rows, counts):
    """Remove the rows that belong to the padding of `pad_batches`."""
    ends = np.cumsum([padded for _, padded in counts])
    starts = [end - padded for end, (_, padded) in zip(ends, counts, strict=True)]
    kept = [rows[start : start + count] for start, (count, _) in zip(starts, counts, strict=True)]
    return np.concatenate(kept)
