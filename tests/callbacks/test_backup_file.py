import json

import numpy as np
import pytest

from keras_simclr.callbacks.backup_file import (
    DamagedFileError,
    read_backup,
    read_record,
    write_backup,
)

ARRAYS = {
    "matrix": np.arange(12, dtype="float32").reshape(3, 4).T,
    "scalar": np.array(7, "int64"),
    "empty": np.zeros((0, 2)),
    "seed": np.array([1, 2], "uint32"),
}
RECORD = {"epoch": 3, "loss": [0.1, float("inf")], "name": "größer"}


@pytest.fixture
def path(tmp_path):
    write_backup(tmp_path / "file.backup", ARRAYS, RECORD)
    return tmp_path / "file.backup"


def assert_equal(found):
    arrays, record = found
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype
    assert record == RECORD


def test_arrays_and_record_are_read_as_they_were_written(path):
    assert_equal(read_backup(path))
    assert read_record(path)["epoch"] == 3


def found_or_harmless(path, data):
    path.write_bytes(data)
    try:
        assert_equal(read_backup(path))
    except DamagedFileError:
        return True
    return False


def test_a_file_cut_off_anywhere_is_found(path):
    data = path.read_bytes()
    lengths = np.linspace(0, len(data) - 1, 1000).astype(int)
    assert all(found_or_harmless(path, data[:length]) for length in lengths)


def test_a_flipped_bit_is_found_or_harmless(path, rng):
    data = path.read_bytes()
    found = 0
    for _ in range(1000):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        found += found_or_harmless(path, bytes(flipped))
    assert found > 500


def test_a_zeroed_page_is_found(path):
    data = path.read_bytes()
    start = len(data) // 3
    assert found_or_harmless(path, data[:start] + bytes(100) + data[start + 100 :])


def test_any_other_file_is_refused(path):
    for data in (b"", b"text", json.dumps(RECORD).encode()):
        path.write_bytes(data)
        with pytest.raises(DamagedFileError, match="is damaged"):
            read_backup(path)


def test_arrays_of_objects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_backup(tmp_path / "file.backup", {"code": np.array([print])}, {})
    assert list(tmp_path.iterdir()) == []
