import numpy as np
import pytest

from keras_simclr.data.repeated_dataset import RepeatedDataset, num_full_batches

BATCHES = [np.full((2, 1, 1, 1), number, "uint8") for number in range(3)]


def numbers_of(dataset, epoch=0):
    dataset.epoch = epoch
    return [int(dataset[i][0].ravel()[0]) for i in range(len(dataset))]


def test_an_epoch_continues_where_the_last_one_ended():
    dataset = RepeatedDataset(BATCHES, 2)
    assert [numbers_of(dataset, epoch) for epoch in range(3)] == [[0, 1], [2, 0], [1, 2]]


def test_batches_read_before_an_epoch_are_returned_again():
    dataset = RepeatedDataset(BATCHES, 3)
    assert [int(dataset[i][0].ravel()[0]) for i in (0, 1, 0, 1, 2)] == [0, 1, 0, 1, 2]


def test_an_epoch_can_start_at_one_of_its_steps():
    dataset = RepeatedDataset(BATCHES, 4)
    dataset.start_epoch(1, 2)
    assert [int(dataset[i][0].ravel()[0]) for i in range(dataset.num_batches)] == [0, 1]
    dataset.start_epoch(2)
    assert numbers_of(dataset, 2) == [2, 0, 1, 2]


def test_labels_and_weights_are_kept():
    batches = [(BATCHES[0], np.array([1, 0]), np.array([0.5, 2.0]))]
    images, labels, weights = RepeatedDataset(batches, 1)[0]
    assert labels.tolist() == [1, 0] and weights.tolist() == [0.5, 2.0]


def test_labels_are_dropped_on_request():
    assert len(RepeatedDataset([(BATCHES[0], np.array([1, 0]))], 1, images_only=True)[0]) == 1


def test_batches_of_another_size_are_dropped():
    batches = [BATCHES[0], BATCHES[1][:1], BATCHES[2]]
    assert numbers_of(RepeatedDataset(batches, 4, batch_size=2)) == [0, 2, 0, 2]


def test_a_transform_gets_the_number_of_the_step():
    steps = []
    dataset = RepeatedDataset(BATCHES, 2, transform=lambda images, s: steps.append(s) or images)
    numbers_of(dataset, 0), numbers_of(dataset, 1)
    assert steps == [0, 1, 2, 3]


def test_each_process_gets_its_shard():
    batch = np.arange(4, dtype="uint8").reshape(4, 1, 1, 1)
    assert RepeatedDataset([batch], 1, shard=(1, 2))[0][0].ravel().tolist() == [2, 3]


def test_a_dataset_that_cannot_be_read_again_raises():
    dataset = RepeatedDataset(iter(BATCHES), 4)
    with pytest.raises(ValueError, match="ended before training did"):
        numbers_of(dataset)


def test_full_batches_are_counted():
    assert num_full_batches([BATCHES[0], BATCHES[1][:1]], 2) == 1
    assert num_full_batches((batch for batch in BATCHES), 2) is None
