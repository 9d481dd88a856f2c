import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_simclr import SimCLR
from keras_simclr.models import from_safetensors, to_safetensors

pytest.importorskip("safetensors")
pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("part", ["model", "encoder", "classifier"])
def test_a_model_comes_back_with_its_weights(part, pretrained, labeled_images, file):
    if part == "classifier":
        model = pretrained.fine_tune(*labeled_images, epochs=1, verbose=0)
    else:
        model = pretrained if part == "model" else pretrained.encoder
    to_safetensors(model, file)
    images = labeled_images[0]
    np.testing.assert_array_equal(
        from_safetensors(file).predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_tensors_have_the_paths_of_the_variables(pretrained, file):
    from safetensors.numpy import load_file

    encoder = pretrained.encoder
    to_safetensors(encoder, file)
    tensors = load_file(file)
    assert sorted(tensors) == sorted(weight.path for weight in encoder.weights)
    kernel = next(weight for weight in encoder.weights if weight.path.endswith("kernel"))
    np.testing.assert_array_equal(tensors[kernel.path], keras.ops.convert_to_numpy(kernel))


def test_a_loaded_model_is_still_pretrained(pretrained, file):
    to_safetensors(pretrained, file)
    assert from_safetensors(file).pretrained


def test_a_loaded_model_keeps_the_recipe_of_its_epochs(make_model, file):
    model = make_model(augmenter=None)
    model.build((None, 12, 12, 3))
    model.plan_epochs(20)
    to_safetensors(model, file)
    loaded = from_safetensors(file)
    assert (loaded.temperature, loaded.augmenter.scale) == (0.1, (0.2, 1.0))


def test_an_encoder_loads_without_other_packages_of_weights(pretrained, file):
    """The file is plain safetensors: its tensors can be read without Keras."""
    to_safetensors(pretrained.encoder, file)
    code = (
        f"import sys; sys.modules['keras'] = None; from safetensors.numpy import load_file;"
        f"print(len(load_file(r'{file}')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) == len(pretrained.encoder.weights)


def test_weights_of_the_same_path_are_numbered(file):
    parts = [keras.Sequential([keras.layers.Dense(2, name="same")]) for _ in range(2)]
    inputs = keras.Input((2,))
    for part in parts:
        part.build((None, 2))
    model = keras.Model(inputs, parts[1](parts[0](inputs)))
    for part in parts:
        part.layers[0].kernel.assign(np.random.default_rng(len(part.name)).normal(size=(2, 2)))
    to_safetensors(model, file)
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(
        from_safetensors(file).predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_a_model_that_is_not_built_is_refused(file):
    with pytest.raises(ValueError, match="must be a Keras model that is built"):
        to_safetensors(SimCLR("resnet18"), file)
    assert not file.exists()


def test_another_suffix_is_refused(pretrained, tmp_path):
    with pytest.raises(ValueError, match="must end with '.safetensors'"):
        to_safetensors(pretrained.encoder, tmp_path / "encoder.bin")


def test_a_file_of_another_program_is_refused(file):
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2)}, file)
    with pytest.raises(ValueError, match="must have been written by `to_safetensors`"):
        from_safetensors(file)


def test_a_cut_off_file_is_refused(pretrained, file):
    to_safetensors(pretrained.encoder, file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        from_safetensors(file)


def test_without_the_package_the_error_names_the_extra(pretrained, file, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"keras-simclr\[checkpoints\]"):
        to_safetensors(pretrained.encoder, file)
