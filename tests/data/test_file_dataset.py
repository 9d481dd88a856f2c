import threading

import numpy as np
import pytest

from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.data.file_dataset import FileDataset

pytestmark = pytest.mark.usefixtures("eager")


class Files:
    """Images in memory that are read like files, some of which are broken."""

    def __init__(self, count, broken=()):
        self.shape, self.dtype = (count, 12, 12, 3), np.dtype("uint8")
        self.broken, self.read, self.threads = set(broken), [], set()

    def __len__(self):
        return self.shape[0]

    def read_into(self, rows, images):
        self.threads.add(threading.current_thread().name)
        self.read += rows.tolist()
        images[:] = np.asarray(rows, "uint8")[:, None, None, None]
        return [place for place, row in enumerate(rows) if row in self.broken]

    def check_broken(self):
        pass

    def fingerprint(self):
        return np.zeros(1)


def rows(dataset, epoch=0, step=0):
    dataset.start_epoch(epoch, step)
    return [dataset[i][0][:, 0, 0, 0].tolist() for i in range(dataset.num_batches)]


def planned(files, **plan):
    return FileDataset(files, batch_size=4).planned(drop_remainder=True, **plan)


def test_the_order_depends_on_seed_and_epoch_alone():
    first = [rows(planned(Files(10), seed=1), epoch) for epoch in (0, 1, 0)]
    assert first[0] == first[2] != first[1]


def test_an_epoch_can_start_at_any_step():
    dataset = planned(Files(12), seed=1)
    assert rows(dataset, 3, step=1) == rows(dataset, 3)[1:]


def test_nothing_is_read_to_get_there():
    files = Files(40)
    dataset = planned(files, steps_per_epoch=10)
    assert len(rows(dataset, 0, step=8)) == 2 and sorted(files.read) == list(range(32, 40))


def test_each_file_is_read_once_and_ahead():
    files = Files(40)
    dataset = planned(files)
    first = dataset[0][0]
    later = rows(dataset)
    assert first[:, 0, 0, 0].tolist() == later[0] and len(files.read) <= 44


def test_files_are_read_by_other_threads():
    files = Files(40)
    rows(planned(files))
    assert all(name.startswith("decoding") for name in files.threads)


def test_an_error_of_a_thread_is_raised():
    files = Files(8)
    files.read_into = lambda rows, images: 1 / 0
    with pytest.raises(ZeroDivisionError):
        planned(files)[0]


def test_shards_add_up_to_the_batch():
    whole = rows(planned(Files(8), seed=3))
    shards = [rows(planned(Files(8), seed=3, shard=(i, 2))) for i in range(2)]
    assert [a + b for a, b in zip(*shards, strict=True)] == whole


def test_broken_files_are_replaced_where_batches_are_full():
    found = [rows(planned(Files(12, broken={2, 5}), seed=1)) for _ in range(2)]
    assert found[0] == found[1] and list(map(len, found[0])) == [4, 4, 4]
    assert not {2, 5} & set(sum(found[0], []))


def test_labels_are_those_of_the_files_in_the_place_of_broken_ones():
    dataset = FileDataset(Files(12, broken={2}), np.arange(12), batch_size=4)
    for images, labels in map(dataset.planned(drop_remainder=True).__getitem__, range(3)):
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_broken_files_are_left_out_elsewhere():
    dataset = FileDataset(Files(6, broken={1}), np.arange(6), batch_size=4)
    assert rows(dataset) == [[0, 2, 3], [4, 5]] and dataset[0][1].tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({4, 5, 6, 7}, [[0, 1], [2, 3], [8, 9, 10, 11]]),
        ({0, 1, 2, 3}, [[4, 5], [6, 7], [8, 9, 10, 11]]),
        ({8, 9, 10, 11}, [[0, 1, 2, 3], [4, 5], [6, 7]]),
        ({*range(4, 12)}, [[0, 1], [2], [3]]),
        ({*range(8)}, [[8, 9], [10], [11]]),
    ],
)
def test_no_batch_is_empty(broken, expected):
    dataset = FileDataset(Files(12, broken=broken), batch_size=4)
    assert rows(dataset) == expected == rows(dataset)


def test_too_few_images_for_the_batches_are_an_error():
    dataset = FileDataset(Files(6, broken={2, 3, 4, 5, 1}), batch_size=2)
    with pytest.raises(ValueError, match="3 batches of 2 files with 1 images.*`batch_size`"):
        dataset[0]


class Stopped(BaseException):
    """The end of a run that is killed."""


def test_a_run_resumes_exactly(tmp_path, make_model):
    files = Files(16, broken={3})

    def fit(model, stop=None):
        dataset = FileDataset(files, batch_size=4)
        backup = BackupAndRestore(tmp_path / str(stop is None), 1, delete_checkpoint=False)
        if stop is not None:
            backup.on_train_batch_end = stop
        model.fit(dataset, epochs=3, verbose=0, callbacks=[backup])
        return model.get_weights()

    def stop(batch, logs=None, steps=[]):  # noqa: B006
        steps.append(batch)
        if len(steps) == 11:
            raise Stopped

    expected = fit(make_model())
    (tmp_path / "True").rename(tmp_path / "done")
    with pytest.raises(Stopped):
        fit(make_model(), stop)
    (tmp_path / "False").rename(tmp_path / "True")
    files.read.clear()
    for weight, its_weight in zip(fit(make_model()), expected, strict=True):
        np.testing.assert_array_equal(weight, its_weight)
    assert len(files.read) < 40  # of 48 in the run: the rest of it, and a first look
