import numpy as np
import pytest

from keras_simclr.data.array_dataset import ArrayDataset, split_array, take_shard

IMAGES = np.arange(10, dtype="uint8").reshape(10, 1, 1, 1)


def order_of(dataset, epoch=0):
    dataset.epoch = epoch
    return np.concatenate([dataset[i][0] for i in range(len(dataset))]).ravel().tolist()


def test_without_a_seed_the_order_is_that_of_the_array():
    assert order_of(ArrayDataset(IMAGES, batch_size=4), epoch=3) == list(range(10))


def test_the_order_of_every_epoch_is_reproducible():
    orders = [order_of(ArrayDataset(IMAGES, batch_size=5, seed=1), epoch) for epoch in (0, 1, 1)]
    assert orders[0] != orders[1] and orders[1] == orders[2]
    assert sorted(orders[1]) == list(range(10))


@pytest.mark.parametrize(("drop_remainder", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_the_last_incomplete_batch_is(drop_remainder, sizes):
    dataset = ArrayDataset(IMAGES, batch_size=4, drop_remainder=drop_remainder)
    assert [len(dataset[i][0]) for i in range(len(dataset))] == sizes


def test_short_epochs_continue_where_the_last_one_ended():
    dataset = ArrayDataset(IMAGES, batch_size=2, steps_per_epoch=3)
    assert order_of(dataset, 0) == [0, 1, 2, 3, 4, 5]
    assert order_of(dataset, 1) == [6, 7, 8, 9, 0, 1]


def test_labels_and_weights_stay_with_their_images():
    labels, weights = np.arange(10) * 2, np.arange(10) * 3.0
    dataset = ArrayDataset(IMAGES, labels, weights, batch_size=5, seed=1)
    images, its_labels, its_weights = dataset[0]
    np.testing.assert_array_equal(its_labels, 2 * images.ravel())
    np.testing.assert_array_equal(its_weights, 3 * images.ravel())


def test_a_transform_gets_the_number_of_the_step():
    steps = []

    def transform(images, step):
        steps.append(step)
        return images

    dataset = ArrayDataset(IMAGES, batch_size=5, transform=transform)
    order_of(dataset, 0), order_of(dataset, 1)
    assert steps == [0, 1, 2, 3]


def test_shards_make_up_the_batch():
    whole = ArrayDataset(IMAGES, batch_size=4, seed=2)[0][0]
    shards = [ArrayDataset(IMAGES, batch_size=4, seed=2, shard=(i, 2))[0][0] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(shards), whole)


def test_a_single_shard_is_the_whole_batch():
    assert take_shard([1, 2, 3], (0, 1)) == [1, 2, 3]


@pytest.mark.parametrize("dtype", [">f4", ">u2", "float64", "int64", "float16", "uint32"])
def test_images_become_float32_from(dtype):
    images = ArrayDataset(IMAGES.astype(dtype), batch_size=5)[0][0]
    assert images.dtype == np.dtype("float32")
    assert images.ravel().tolist() == [0, 1, 2, 3, 4]


def test_uint8_images_stay_uint8():
    assert ArrayDataset(IMAGES, batch_size=5)[0][0].dtype == np.uint8


def test_an_epoch_can_start_at_one_of_its_steps():
    whole, rest = (ArrayDataset(IMAGES, batch_size=2, seed=1) for _ in range(2))
    expected = order_of(whole, 1)
    rest.start_epoch(1, 3)
    assert rest.num_batches == 2 and len(rest) == 5
    assert [*rest[0][0].ravel(), *rest[1][0].ravel()] == expected[6:]


def test_the_last_fraction_of_an_array_is_split_off():
    (images, labels), (its_images, its_labels) = split_array(IMAGES[:8], 0.25, np.arange(8))
    assert (len(images), len(its_images)) == (6, 2)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5] and its_labels.tolist() == [6, 7]


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 3])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        split_array(IMAGES, fraction)


def test_a_dataset_cannot_be_split():
    with pytest.raises(ValueError, match="only supported for arrays"):
        split_array(ArrayDataset(IMAGES, batch_size=2), 0.5)


def test_a_split_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="leave images for both training and validation"):
        split_array(IMAGES, 0.01)
