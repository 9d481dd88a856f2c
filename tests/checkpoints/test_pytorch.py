import argparse
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from keras_simclr.checkpoints import load_arrays

WEIGHT = torch.arange(6, dtype=torch.float32).reshape(2, 3)


def saved(content, folder, zipped=True):
    path = folder / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_nested_state_dicts_have_dotted_names(zipped, tmp_path):
    content = {"epoch": 3, "state_dict": {"fc.weight": WEIGHT}, "optimizer": {0: WEIGHT}}
    found = load_arrays(saved(content, tmp_path, zipped))
    assert set(found) == {"state_dict.fc.weight", "optimizer.0"}
    np.testing.assert_array_equal(found["state_dict.fc.weight"], WEIGHT)


def test_only_wanted_arrays_are_returned(tmp_path):
    path = saved({"a": WEIGHT, "b": WEIGHT}, tmp_path)
    assert set(load_arrays(path, lambda name: name == "a")) == {"a"}


def test_bfloat16_becomes_float32(tmp_path):
    found = load_arrays(saved({"a": WEIGHT.bfloat16()}, tmp_path))["a"]
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, WEIGHT)


@pytest.mark.parametrize(
    "record", [np.float64(0.5), argparse.Namespace(lr=1), np.dtype("float32")], ids=type
)
@pytest.mark.parametrize("zipped", [True, False])
def test_records_beside_the_weights_are_ignored(record, zipped, tmp_path):
    found = load_arrays(saved({"fc.bias": WEIGHT, "record": [record]}, tmp_path, zipped))
    assert set(found) == {"fc.bias"}


def test_safetensors_are_read(tmp_path):
    save_file({"a": WEIGHT, "b": WEIGHT.clone()}, tmp_path / "weights.safetensors")
    found = load_arrays(tmp_path / "weights.safetensors", lambda name: name == "a")
    np.testing.assert_array_equal(found.pop("a"), WEIGHT)
    assert not found


# Bad input


@pytest.mark.parametrize("name", ["config.json", "ResNet50_1x/model.ckpt-225206.index"])
def test_another_zip_archive_is_distinguished_from_a_damaged_file(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr(name, b"content")
    with pytest.raises(ValueError, match=f"must be one of `torch.save`. Received: .*'{name}'"):
        load_arrays(tmp_path / "model.zip")


def test_an_archive_that_python_cannot_read_is_left_to_pytorch(tmp_path):
    path = saved({"fc.bias": WEIGHT}, tmp_path)
    content = path.read_bytes()
    entry = content.rindex(b"PK\x01\x02")  # of the central directory
    path.write_bytes(content[: entry + 6] + b"\x40" + content[entry + 7 :])  # version 6.4
    assert list(load_arrays(path)) == ["fc.bias"]


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(zipped, tmp_path):
    path = saved({"fc.bias": WEIGHT, "x": RunsCode(tmp_path / "ran")}, tmp_path, zipped)
    with pytest.raises(ValueError, match="nothing but weights. Received.*mkdir.* was not loaded"):
        load_arrays(path)
    assert not (tmp_path / "ran").exists()


class Harmless:
    def __reduce__(self):
        return eval, ("1",)


def test_a_builtin_function_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing but weights. Received.*`eval`"):
        load_arrays(saved([Harmless()], tmp_path))


def test_a_plain_pickle_that_runs_code_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(RunsCode(tmp_path / "ran"), protocol=2))
    with pytest.raises(ValueError, match="a.pkl"):
        load_arrays(tmp_path / "a.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_off_file_is_damaged(zipped, tmp_path):
    path = saved({"a": torch.ones(1000)}, tmp_path, zipped)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(ValueError, match="is damaged, or contains no weights.*Download it again"):
        load_arrays(path)


@pytest.mark.parametrize("kept", [-20, 40])
def test_a_cut_off_safetensors_file_is_damaged(kept, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": WEIGHT}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is damaged, or contains no weights"):
        load_arrays(path)


@pytest.mark.parametrize("content", [b"", b"x", b"<html>not found</html>"])
def test_a_file_of_another_format_is_refused(content, tmp_path):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(ValueError, match="of TensorFlow or PyTorch, or a safetensors file. Rec"):
        load_arrays(tmp_path / "weights.pth")


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="There is no checkpoint. Received: '.*missing.pth'"
    ):
        load_arrays(tmp_path / "missing.pth")


def test_a_folder_without_a_checkpoint_lists_its_files(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="contains no checkpoint.*Received: .'notes.txt'"):
        load_arrays(tmp_path)


def test_a_safetensors_file_with_a_damaged_first_byte_is_damaged(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": WEIGHT}, path)
    path.write_bytes(b"\x80\0\0\x80" + path.read_bytes()[4:])
    with pytest.raises(ValueError, match="is damaged"):
        load_arrays(path)
