"""Inspection of datasets from any library."""

import itertools
import sys

import keras
import numpy as np


def is_array(data):
    """Return whether `data` is one array or tensor, rather than a dataset."""
    return hasattr(data, "shape") and hasattr(data, "__array__")


def is_tf_dataset(data):
    """Return whether `data` is a `tf.data.Dataset`, without importing TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(data, tensorflow.data.Dataset)


def is_torch_loader(data):
    """Return whether `data` is a `torch.utils.data.DataLoader`, without importing PyTorch."""
    loaders = sys.modules.get("torch.utils.data")
    return loaders is not None and isinstance(data, loaders.DataLoader)


def is_read_once(dataset):
    """Return whether a dataset is an iterator, such as a generator, and can be read only once."""
    return hasattr(dataset, "__next__")


def to_numpy(data):
    """Return `data` as a NumPy array; a `numpy.memmap` stays on disk."""
    return data if isinstance(data, np.ndarray) else keras.ops.convert_to_numpy(data)


def to_image_batch(images):
    """Return images as uint8 if they have that dtype, otherwise as float32."""
    dtype = "uint8" if images.dtype == "uint8" else "float32"
    return np.ascontiguousarray(images, dtype=dtype)


def images_of(batch):
    """Return the images of a batch, which may also contain labels."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def images_as_numpy(batch):
    """Return the images of a batch as a NumPy array.

    Raises:
        ValueError: If the batch is a dict.
    """
    if isinstance(batch, dict):
        raise ValueError(
            "A batch must be images, or a tuple that starts with them. Received: a dict with "
            f"the keys {sorted(batch)}. Map the dataset to its images first."
        )
    return to_numpy(images_of(batch))


def num_batches(dataset):
    """Return the number of batches of a dataset, or None if it is unknown or infinite."""
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    try:
        return len(dataset)
    except TypeError:
        return None


def iterate_batches(dataset):
    """Return an iterator over one pass of a dataset."""
    if isinstance(dataset, keras.utils.PyDataset):
        count = dataset.num_batches
        indices = itertools.count() if count is None else range(count)
        return (dataset[index] for index in indices)
    return iter(dataset)


def first_batch(dataset):
    """Return the first batch of a dataset, and the dataset that still contains this batch.

    Raises:
        ValueError: If `dataset` is not a dataset, or has no batches.
    """
    if isinstance(dataset, keras.utils.PyDataset):
        first = None if dataset.num_batches == 0 else dataset[0]
    elif isinstance(dataset, (str, tuple, list, dict)) or not hasattr(dataset, "__iter__"):
        raise ValueError(
            "Images must be an array, a tensor, or a dataset (`tf.data.Dataset`, `DataLoader`, "
            f"`keras.utils.PyDataset`, grain). Received: {type(dataset).__name__}."
        )
    else:
        iterator = iter(dataset)
        first = next(iterator, None)
        if iterator is dataset:
            dataset = _as_tuples(itertools.chain([first], iterator))
    if first is None:
        raise ValueError(
            f"The dataset is empty. Received: {type(dataset).__name__} without batches."
        )
    return first, dataset


def _as_tuples(iterator):
    """Yield batches as tuples, as Keras expects them from generators."""
    for batch in iterator:
        yield tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
