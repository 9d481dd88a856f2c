import numpy as np
import pytest

from keras_simclr.data.array_dataset import ArrayDataset
from keras_simclr.data.inspection import (
    first_batch,
    images_as_numpy,
    is_array,
    is_read_once,
    is_tf_dataset,
    is_torch_loader,
    iterate_batches,
    num_batches,
)

IMAGES = np.arange(6, dtype="uint8").reshape(6, 1, 1, 1)


def datasets():
    import tensorflow as tf
    import torch

    tensors = torch.utils.data.TensorDataset(torch.tensor(IMAGES))
    return {
        "tf.data": tf.data.Dataset.from_tensor_slices(IMAGES).batch(2),
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=2),
        "PyDataset": ArrayDataset(IMAGES, batch_size=2),
        "list-like": Readable(),
    }


class Readable:
    def __iter__(self):
        return (IMAGES[i : i + 2] for i in (0, 2, 4))

    def __len__(self):
        return 3


@pytest.mark.parametrize("kind", ["tf.data", "DataLoader", "PyDataset", "list-like"])
def test_length_and_batches_are_found_for(kind):
    dataset = datasets()[kind]
    assert num_batches(dataset) == 3
    values = [images_as_numpy(batch).ravel().tolist() for batch in iterate_batches(dataset)]
    assert values == [[0, 1], [2, 3], [4, 5]]
    assert images_as_numpy(first_batch(dataset)[0]).ravel().tolist() == [0, 1]
    assert not is_array(dataset) and not is_read_once(dataset)


def test_the_library_of_a_dataset_is_recognized():
    kinds = datasets()
    assert [name for name, data in kinds.items() if is_tf_dataset(data)] == ["tf.data"]
    assert [name for name, data in kinds.items() if is_torch_loader(data)] == ["DataLoader"]


def test_the_first_batch_of_a_generator_is_put_back():
    first, generator = first_batch(iter([IMAGES[:2], IMAGES[2:]]))
    assert [batch[0].ravel().tolist() for batch in generator] == [[0, 1], [2, 3, 4, 5]]
    assert first.ravel().tolist() == [0, 1]
    assert is_read_once(generator) and num_batches(generator) is None


def test_batches_of_a_generator_may_be_lists():
    _, generator = first_batch(iter([[IMAGES[:2], [0, 1]], [IMAGES[2:], [0, 1, 0, 1]]]))
    assert [type(batch) for batch in generator] == [tuple, tuple]


@pytest.mark.parametrize("data", ["images.npy", (IMAGES, IMAGES), None, 3])
def test_objects_that_are_not_datasets_are_refused(data):
    with pytest.raises(ValueError, match="must be an array, a tensor, or a dataset"):
        first_batch(data)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="The dataset is empty"):
        first_batch(iter([]))


def test_batches_that_are_dicts_are_refused():
    with pytest.raises(ValueError, match="a dict with the keys"):
        images_as_numpy({"image": IMAGES})
