import numpy as np
import pytest
import tensorflow as tf

from keras_simclr.checkpoints import load_arrays

pytestmark = pytest.mark.once

ARRAYS = {
    "base_model/conv2d/kernel": np.arange(12, dtype="float32").reshape(3, 4),
    "base_model/conv2d/kernel/Momentum": np.ones((3, 4), "float32"),
    "global_step": np.int64(7),
}
NAME = "model.ckpt-7"


def write(folder, arrays=ARRAYS, name=NAME):
    folder.mkdir(exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(folder / name),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    return folder


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


# TF1


@pytest.mark.parametrize(
    "file", [NAME, f"{NAME}.index", f"{NAME}.data-00000-of-00001", f"{NAME}.meta"]
)
def test_a_checkpoint_is_read_by_its_prefix_or_one_of_its_files(file, tmp_path):
    assert_equal(load_arrays(write(tmp_path) / file), ARRAYS)


@pytest.mark.parametrize("name", [NAME, f"/of/another/machine/{NAME}", f"gs://bucket/{NAME}"])
def test_a_folder_is_read_by_the_name_in_its_state(name, tmp_path):
    write(write(tmp_path), {"other": np.ones(2, "float32")}, "model.ckpt-3")
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\n')
    assert_equal(load_arrays(tmp_path), ARRAYS)


def test_a_folder_with_one_checkpoint_needs_no_state(tmp_path):
    assert_equal(load_arrays(write(tmp_path)), ARRAYS)


def test_only_wanted_arrays_are_read(tmp_path):
    found = load_arrays(write(tmp_path), lambda name: not name.endswith("Momentum"))
    assert set(found) == {"base_model/conv2d/kernel", "global_step"}


def test_a_hub_module_is_read_by_the_names_of_its_variables(tmp_path):
    write(tmp_path / "variables", name="variables")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "tfhub_module.pb").write_bytes(b"")
    assert_equal(load_arrays(tmp_path), ARRAYS)


# TF2: objects, whose keys number their variables


def checkpoint(**attributes):
    return tf.train.Checkpoint(**attributes)


def saved_model(folder, root):
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    root.write(str(folder / "variables" / "variables"))
    return folder


@pytest.fixture
def variables():
    return [tf.Variable(np.full(2, float(i), "float32"), name=f"layer_{i}/kernel") for i in (0, 1)]


def test_variables_of_a_saved_model_are_named_by_their_attributes(variables, tmp_path):
    first, second = variables
    blocks = [checkpoint(conv=checkpoint(kernel=v)) for v in (first, second)]
    root = checkpoint(model=checkpoint(block_groups=blocks, variables=[second, first]))
    keys = tf.train.load_checkpoint(str(saved_model(tmp_path, root) / "variables" / "variables"))
    assert "model/variables/0/.ATTRIBUTES/VARIABLE_VALUE" in keys.get_variable_to_shape_map()
    expected = {f"model/block_groups/{i}/conv/kernel": np.full(2, i) for i in (0, 1)}
    found = load_arrays(tmp_path)
    found.pop("save_counter", None)
    assert_equal(found, expected)


def test_an_attribute_precedes_the_list_of_layers_of_a_model(variables, tmp_path):
    layer = checkpoint(kernel=variables[0])
    root = checkpoint(model=checkpoint(_layers=[layer], layers=[layer], stem=[layer]))
    assert "model/stem/0/kernel" in load_arrays(saved_model(tmp_path, root))


def test_a_variable_that_only_a_list_leads_to_keeps_its_full_name(variables, tmp_path):
    root = checkpoint(trainable_variables_list=[variables[1]])
    assert "layer_1/kernel" in load_arrays(saved_model(tmp_path, root))


# Bad input


def test_a_missing_shard_is_named(tmp_path):
    write(tmp_path)
    whole = tmp_path / f"{NAME}.data-00000-of-00001"
    whole.rename(tmp_path / f"{NAME}.data-00000-of-00002")
    with pytest.raises(
        FileNotFoundError, match=f"is missing.*without '.*{NAME}.data-00001-of-00002'"
    ):
        load_arrays(tmp_path)


def test_a_checkpoint_without_shards_is_an_error(tmp_path):
    (write(tmp_path) / f"{NAME}.data-00000-of-00001").unlink()
    with pytest.raises(
        FileNotFoundError, match=f"is missing.*without '.*{NAME}.data-00000-of-00001'"
    ):
        load_arrays(tmp_path)


def test_a_missing_index_is_named(tmp_path):
    (write(tmp_path) / f"{NAME}.index").unlink()
    with pytest.raises(FileNotFoundError, match=f"is missing.*without '.*{NAME}.index'"):
        load_arrays(tmp_path / f"{NAME}.data-00000-of-00001")


@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
def test_a_cut_off_file_is_damaged(part, tmp_path):
    file = write(tmp_path) / f"{NAME}.{part}"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match="is damaged or incomplete.*Download its files again"):
        load_arrays(tmp_path)


def test_a_changed_byte_is_noticed(tmp_path):
    file = write(tmp_path) / f"{NAME}.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or incomplete"):
        load_arrays(tmp_path)


@pytest.mark.parametrize("name", ["../outside/model.ckpt-7", "{}/outside/model.ckpt-7"])
def test_a_state_cannot_name_a_checkpoint_outside_of_its_folder(name, tmp_path):
    write(tmp_path / "outside")
    (tmp_path / "inside").mkdir()
    state = f'model_checkpoint_path: "{name.format(tmp_path)}"\n'
    (tmp_path / "inside" / "checkpoint").write_text(state)
    with pytest.raises(FileNotFoundError, match="must name a checkpoint in its own folder"):
        load_arrays(tmp_path / "inside")


@pytest.mark.parametrize("state", ["", "model_checkpoint_path: 3", 'model_checkpoint_path: ".."'])
def test_a_damaged_state_is_an_error(state, tmp_path):
    (tmp_path / "checkpoint").write_text(state)
    with pytest.raises(FileNotFoundError, match="must name a checkpoint in its own folder"):
        load_arrays(tmp_path)


def test_a_saved_model_without_variables_is_an_error(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="is missing.*variables.index"):
        load_arrays(tmp_path)
