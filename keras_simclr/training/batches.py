"""Pictures, however they come, made into what Keras' `fit` takes."""

import dataclasses
import itertools

import keras
import numpy as np

from keras_simclr import distribution
from keras_simclr.training.checks import check_no_views, check_pictures, check_shares
from keras_simclr.training.step import pictures_of

DEFAULT_BATCH_SIZE = 256


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays, whose order depends on the seed and the epoch alone.

    Keras keeps the state of its own shuffling where no checkpoint holds it; here an interrupted
    run that goes on at an epoch sees that epoch's own order. A `numpy.memmap` is read a batch at
    a time.

    Args:
        images: Array of shape (N, ...).
        labels: Array of length N, or None for batches of pictures alone.
        batch_size: Pictures a batch.
        seed: Integer that fixes the order of every epoch; None keeps the order of the array.
        drop_remainder: Whether to leave out the last incomplete batch.
        steps: Batches an epoch. Defaults to one pass over the pictures.
        transform: Function of a batch of pictures and the number of the step, applied to each.

    Of every batch only the part of this process is given, if there are several.
    """

    def __init__(
        self,
        images,
        labels=None,
        *,
        batch_size,
        seed=None,
        drop_remainder=False,
        steps=None,
        transform=None,
    ):
        super().__init__()
        self.part = distribution.feed_part()
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.seed = seed
        self.steps_a_pass = len(images) // batch_size
        if not drop_remainder:
            self.steps_a_pass = -(-len(images) // batch_size)
        self.steps = steps or self.steps_a_pass
        self.transform = transform
        self.epoch = 0
        self._order = (None, None)

    def __len__(self):
        """Return the number of batches an epoch."""
        return self.steps

    def __getitem__(self, index):
        """Return batch `index` of the current epoch: (pictures,) or (pictures, labels)."""
        step = self.epoch * self.steps + index
        turn, place = divmod(step, self.steps_a_pass)
        chosen = self._order_of(turn)[place * self.batch_size : (place + 1) * self.batch_size]
        chosen = part_of(chosen, self.part)
        images = np.ascontiguousarray(self.images[chosen])
        if self.transform:
            images = self.transform(images, step)
        return (images,) if self.labels is None else (images, self.labels[chosen])

    def _order_of(self, turn):
        known, order = self._order
        if known != turn:
            order = np.arange(len(self.images))
            if self.seed is not None:
                np.random.default_rng((self.seed, turn)).shuffle(order)
            self._order = (turn, order)
        return order


class DatasetBatches(keras.utils.PyDataset):
    """The passes over a dataset, one after the other, with a transform on top.

    Args:
        dataset: Any iterable of batches that can be gone through again.
        batch_size: Pictures of a full batch. Over several devices only full batches are given,
            and of those the part of this process.
        steps: Batches an epoch, or None if there is no end.
    """

    def __init__(self, dataset, batch_size, steps=None):
        super().__init__()
        self.dataset = dataset
        self.batch_size = batch_size
        self.steps = steps
        self.part = distribution.feed_part()
        self.full_only = distribution.devices() > 1  # asked now: Keras reads in another thread
        self.transform = None
        self.epoch = 0
        self._batches = None

    @property
    def num_batches(self):
        """Return the number of batches, or None if there is no end."""
        return self.steps

    def __getitem__(self, index):
        """Return the next batch; index 0 begins anew."""
        if index == 0:
            self._batches = self._passes()
        images, *labels = next(self._batches)
        if self.transform:
            images = self.transform(images, index)
        return images, *labels

    def _passes(self):
        while True:
            found = False
            for batch in iter_batches(self.dataset):
                parts = batch[:2] if isinstance(batch, (tuple, list)) else (batch,)
                parts = [to_numpy(part) for part in parts]
                if not self.full_only or len(parts[0]) == self.batch_size:
                    found = True
                    yield [part_of(part, self.part) for part in parts]
            if not found:
                raise ValueError("The dataset came to its end. Pass one that can be read again.")


def part_of(rows, part):
    """Return the part (number, of how many) of a batch."""
    number, count = part
    size = len(rows) // count
    return rows if count == 1 else rows[number * size : (number + 1) * size]


def iter_batches(dataset):
    """Return an iterator over one pass of a dataset."""
    if isinstance(dataset, keras.utils.PyDataset):
        count = dataset.num_batches
        indices = itertools.count() if count is None else range(count)
        return (dataset[index] for index in indices)
    return iter(dataset)


def batches_a_pass(dataset, size):
    """Return the number of batches that are used, or None where it is not known or endless.

    Over several devices they are those of `size` pictures: of a `PyDataset` only the last batch
    is looked at, other datasets are gone through.
    """
    count = number_of_batches(dataset)
    if count is None or distribution.devices() == 1:
        return count
    if isinstance(dataset, keras.utils.PyDataset):
        return count - (len(pictures_in(dataset[count - 1])) != size)
    return sum(len(pictures_in(batch)) == size for batch in iter_batches(dataset))


class FollowEpochs(keras.callbacks.Callback):
    """Tell `ArrayBatches` which epoch it is."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        """Set the epoch before its first batch is drawn."""
        self.batches.epoch = epoch


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `fit` is fed with.

    Args:
        data: What Keras takes.
        first: Pictures of the first batch, a NumPy array.
        batch_size: Pictures a batch.
        steps: Batches an epoch, or None where that is not known.
    """

    data: object
    first: np.ndarray
    batch_size: int
    steps: int | None

    @property
    def callbacks(self):
        """Return the callbacks that the data need."""
        own = isinstance(self.data, (ArrayBatches, DatasetBatches))
        return [FollowEpochs(self.data)] if own else []


def training_feed(
    x, y, value_range, *, batch_size=None, seed=None, steps=None, micro_batch_size=None
):
    """Check pictures for pretraining and make them into a `Feed`.

    Args:
        x: Array or dataset of pictures, with or without labels.
        y: Labels, which are ignored, but must not be pictures.
        value_range: (low, high) that the pictures should have.
        batch_size: Pictures a batch, for arrays. Defaults to 256, or the largest power of two
            below that gives a step.
        seed: Order of an array's pictures; None keeps it.
        steps: Batches an epoch. Defaults to one pass.
        micro_batch_size: Pictures that a device works on at once, or None.

    Raises:
        ValueError: If the pictures cannot be trained on.
    """
    check_no_views(y)
    if not is_array(x):
        return _dataset_feed(x, value_range, batch_size, steps, micro_batch_size)
    images = to_numpy(x)
    check_pictures(images, value_range)
    batch_size = batch_size or default_batch_size(len(images))
    _check_two_pictures(len(images), batch_size)
    check_shares(images[:1], batch_size, micro_batch_size, len(images))
    data = ArrayBatches(images, batch_size=batch_size, seed=seed, drop_remainder=True, steps=steps)
    return Feed(data, images[:1], batch_size, len(data))


def _dataset_feed(x, value_range, batch_size, steps, micro_batch_size):
    if batch_size is not None:
        raise ValueError(
            "`batch_size` goes with arrays; a dataset comes in batches of its own. Received: "
            f"batch_size={batch_size} with {type(x).__name__}."
        )
    first, x = checked_first_batch(x, value_range)
    if len(first) == 1:
        raise ValueError(
            "The dataset's batches must hold at least 2 pictures, since each picture is told "
            "apart from the others. Received: a first batch of 1. Batch the dataset, for instance "
            "by 256."
        )
    check_shares(first, len(first), micro_batch_size)
    steps = steps or batches_a_pass(x, len(first))
    if distribution.devices() > 1:
        if steps is None:
            raise ValueError("The length of the dataset is not known. Pass `steps_per_epoch`.")
        x = DatasetBatches(x, len(first), steps)
    return Feed(x, first, len(first), steps)


def _check_two_pictures(count, batch_size):
    if count < 2 or batch_size < 2:
        raise ValueError(
            "Contrastive learning needs at least 2 pictures in a batch. Received: "
            f"{count} pictures in all, batch_size={batch_size}."
        )
    if batch_size > count:
        raise ValueError(
            f"`batch_size` must not exceed the number of pictures. Received: "
            f"batch_size={batch_size} with {count} pictures. Leave it out for a default."
        )


def evaluation_feed(
    x, value_range, batch_size=None, labels=None, shared=True, micro_batch_size=None
):
    """Check pictures and make them into a `Feed` for one look at each, in order.

    Over several devices what fills no batch is left out.

    Args:
        x: Array or dataset of pictures.
        value_range: (low, high) that the pictures should have.
        batch_size: Pictures a batch, for arrays.
        labels: Labels of an array's pictures, or None.
        shared: Whether several devices share each batch. Defaults to True.
        micro_batch_size: Pictures that a device works on at once, or None.

    Raises:
        ValueError: If the pictures cannot be looked at.
    """
    devices = distribution.devices() if shared else 1
    if not is_array(x):
        first, x = checked_first_batch(x, value_range)
        if devices > 1 and not isinstance(x, (ArrayBatches, DatasetBatches)):
            check_shares(first, len(first), micro_batch_size)
            x = DatasetBatches(x, len(first), batches_a_pass(x, len(first)))
        return Feed(x, first, len(first), number_of_batches(x))
    images = to_numpy(x)
    check_pictures(images, value_range)
    if devices > 1:
        batch_size = _shared_batch_size(len(images), batch_size, devices * (micro_batch_size or 1))
        check_shares(images[:1], batch_size, micro_batch_size, len(images))
    batch_size = batch_size or default_batch_size(len(images))
    data = ArrayBatches(images, labels, batch_size=batch_size, drop_remainder=devices > 1)
    if not shared:
        data.part = (0, 1)
    return Feed(data, images[:1], batch_size, len(data))


def padded_batches(data):
    """Fill up batches so that devices can share them.

    Args:
        data: Batches of pictures.

    Returns:
        A generator of this process's part of the filled batches, and a list that it fills with
        the numbers of pictures before and after.
    """
    counts, devices = [], distribution.devices()

    def padded():
        for batch in iter_batches(data):
            images = pictures_in(batch)
            missing = -len(images) % devices
            counts.append((len(images), len(images) + missing))
            filled = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
            yield (part_of(filled, distribution.feed_part()),)

    return padded(), counts


def cut_batches(rows, counts):
    """Return the rows of the pictures of `padded_batches`, without those of the filling."""
    ends = np.cumsum([after for _, after in counts])
    starts = [end - after for end, (_, after) in zip(ends, counts, strict=True)]
    kept = [rows[at : at + count] for at, (count, _) in zip(starts, counts, strict=True)]
    return np.concatenate(kept)


def split_array(x, share):
    """Return an array without its last `share`, and that share."""
    if not is_array(x) or not 0 < share < 1:
        raise ValueError(
            "`validation_split` must lie between 0 and 1 and goes with arrays. Received: "
            f"validation_split={share} with {type(x).__name__}."
        )
    count = round(len(x) * (1 - share))
    return x[:count], x[count:]


def is_array(data):
    """Tell whether `data` is one array or tensor, rather than a dataset."""
    return hasattr(data, "shape") and hasattr(data, "__array__")


def to_numpy(data):
    """Return `data` as a NumPy array; a `numpy.memmap` stays where it is."""
    return data if isinstance(data, np.ndarray) else keras.ops.convert_to_numpy(data)


def default_batch_size(count, largest=DEFAULT_BATCH_SIZE):
    """Return `largest`, or the largest power of two that still gives a step."""
    return min(largest, 2 ** (max(count, 1).bit_length() - 1))


def _shared_batch_size(count, batch_size, parts):
    """Return a batch size of which there is a batch; by default one that leaves out few pictures.

    The default is a multiple of `parts`, and large, lest pictures have few rivals.
    """
    if count < parts:
        raise ValueError(
            "There must be a picture for each device, or a micro-batch if there are any. Received: "
            f"{count} pictures, of which {parts} are the least."
        )
    if batch_size:
        return batch_size if batch_size <= count else count - count % parts
    largest = max(min(DEFAULT_BATCH_SIZE, count), parts)
    multiples = [size for size in range(parts, largest + 1, parts) if 2 * size >= largest - parts]
    return min(multiples, key=lambda size: (count % size, -size))


def first_batch(dataset):
    """Return the first batch of a dataset, and the dataset with that batch back in front."""
    if isinstance(dataset, keras.utils.PyDataset):
        return (dataset[0] if _length(dataset) != 0 else None), dataset
    if not hasattr(dataset, "__iter__") or isinstance(dataset, (str, tuple, list, dict)):
        raise ValueError(
            "Pictures must be an array, a tensor, or a dataset (`tf.data.Dataset`, `DataLoader`, "
            f"`keras.utils.PyDataset`, grain). Received: {type(dataset).__name__}."
        )
    iterator = iter(dataset)
    first = next(iterator, None)
    if iterator is dataset:
        return first, _generator(itertools.chain([first], iterator))
    return first, dataset


def checked_first_batch(dataset, value_range):
    """Return the pictures of a dataset's first batch, checked, and the dataset as it was.

    Raises:
        ValueError: If there is no batch, or its pictures cannot be worked with.
    """
    first, dataset = first_batch(dataset)
    if first is None:
        raise ValueError(
            f"The dataset is empty. Received: {type(dataset).__name__} without a batch."
        )
    if isinstance(first, (tuple, list)):
        check_no_views(*first[1:2])
    first = pictures_in(first)
    check_pictures(first, value_range)
    return first, dataset


def number_of_batches(dataset):
    """Return the number of batches of a dataset, or None where it is not known or endless."""
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset.num_batches
    return _length(dataset)


def _length(dataset):
    try:
        return len(dataset)
    except TypeError:
        return None


def _generator(iterator):
    for batch in iterator:
        yield batch if isinstance(batch, tuple) else (batch,)


def pictures_in(batch):
    """Return the pictures of a batch of any kind as a NumPy array."""
    if isinstance(batch, dict):
        raise ValueError(
            "A batch must be pictures, or a tuple that begins with them. Received: a dict with "
            f"the keys {sorted(batch)}. Map the dataset to its pictures first."
        )
    return to_numpy(pictures_of(batch))
