import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_simclr.callbacks.backup_file import (
    DamagedFileError,
    read_backup,
    read_record,
    write_backup,
)

pytestmark = pytest.mark.once

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


def crafted(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_small_file_that_unpacks_to_much_is_refused(path):
    zeros = {"record.json": b"0" * 10_000_000}
    crafted(path, zeros, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(DamagedFileError, match="members larger than the file"):
        read_record(path)


def test_members_with_bytes_in_common_are_refused(path):
    crafted(path, {"record.json": b"0" * 1000, "a.npy": b""})
    data = path.read_bytes()
    length = (1000).to_bytes(4, "little")
    second = data.rindex(b"PK\x01\x02")
    sizes = slice(second + 20, second + 28)
    path.write_bytes(data[: sizes.start] + 2 * length + data[sizes.stop :])
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_backup(path)


def test_a_record_that_is_no_dict_is_refused(path):
    crafted(path, {"record.json": "[1]"})
    with pytest.raises(DamagedFileError, match="The record of a backup is a dict. Received: list"):
        read_record(path)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_reading_writes_nothing_wherever_a_member_points(path, name):
    record = json.dumps({"arrays": [name]})
    crafted(path, {"record.json": record, f"{name}.npy": b"code"})
    before = sorted(path.parent.parent.rglob("*"))
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_backup(path)
    assert sorted(path.parent.parent.rglob("*")) == before


def test_a_pickle_in_a_backup_is_refused(path):
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    crafted(path, {"record.json": '{"arrays": ["a"]}', "a.npy": file.getvalue()})
    with pytest.raises(DamagedFileError, match="allow_pickle"):
        read_backup(path)


def test_an_array_that_claims_to_be_huge_is_refused(path):
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**45,)}
    np.lib.format.write_array_header_1_0(file, header)
    crafted(path, {"record.json": '{"arrays": ["a"]}', "a.npy": file.getvalue()})
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_backup(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[*HealthCheck])
@given(record=JSON | st.fixed_dictionaries({"arrays": JSON}), content=st.binary(), data=st.data())
def test_any_record_and_any_array_is_read_or_found_to_be_damaged(tmp_path, record, content, data):
    names = record["arrays"] if isinstance(record, dict) and "arrays" in record else ["a"]
    first = names[0] if names and isinstance(names, list) else "a"
    header = data.draw(st.sampled_from([b"", b"\x93NUMPY\x01\x00v\x00", b"\x93NUMPY\x02\x00"]))
    path = tmp_path / "file.backup"
    crafted(path, {"record.json": json.dumps(record), f"{first}.npy": header + content})
    try:
        read_backup(path)
    except DamagedFileError:
        pass
    else:
        assert isinstance(read_record(path), dict)
