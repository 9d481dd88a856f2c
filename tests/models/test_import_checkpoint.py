import os
import sys

import keras
import numpy as np
import pytest
from torchvision_names import random_resnet18

from keras_simclr.models import import_checkpoint, load_checkpoint

pytestmark = pytest.mark.once

numpy = pytest.importorskip("safetensors.numpy")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "weights.safetensors"
    numpy.save_file(random_resnet18(np.random.default_rng(0)), path)
    return path


@pytest.fixture(scope="module")
def imported(checkpoint, tmp_path_factory):
    """Return the folder of an imported checkpoint, which no test changes."""
    folder = tmp_path_factory.mktemp("imported") / "net"
    files = import_checkpoint(
        checkpoint,
        folder / "net.keras",
        safetensors=True,
        value_range=(0, 1),
        allow_supervised=True,
    )
    assert [file.name for file in files] == [
        "net.keras",
        "net-classifier.keras",
        "net.safetensors",
        "README.md",
    ]
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).random((2, 48, 48, 3), "float32")


def same(model, other, images):
    one, two = (keras.ops.convert_to_numpy(each(images)) for each in (model, other))
    np.testing.assert_array_equal(one, two)


@pytest.mark.every_backend
def test_the_saved_models_return_what_the_checkpoint_returns(checkpoint, imported, images):
    loaded = load_checkpoint(checkpoint, value_range=(0, 1), allow_supervised=True)
    same(keras.saving.load_model(imported / "net.keras"), loaded.model, images)
    same(keras.saving.load_model(imported / "net-classifier.keras"), loaded.classifier, images)


def test_the_safetensors_file_has_the_weights_by_name(checkpoint, imported):
    arrays = numpy.load_file(imported / "net.safetensors")
    kernel = numpy.load_file(checkpoint)["conv1.weight"].transpose(2, 3, 1, 0)
    assert any(np.array_equal(array, kernel) for array in arrays.values())


def test_the_model_card_states_network_images_and_heads(imported):
    card = (imported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: keras\n")
    for words in (
        "Imported from weights.safetensors.",
        "ResNet-18, width 1",
        "3 channels in (0, 1)",
        "Projection head: new, not trained.",
        "Accuracy: unknown",
        "| net-classifier.keras | a classifier: images to class probabilities |",
        'SimCLR.from_preset("net.keras")',
    ):
        assert words in card


def test_without_safetensors_there_are_only_models(checkpoint, tmp_path):
    import_checkpoint(checkpoint, tmp_path / "net.keras", allow_supervised=True)
    assert sorted(os.listdir(tmp_path)) == ["net-classifier.keras", "net.keras"]


@pytest.mark.parametrize("name", ["net", "net.h5", "net.safetensors"])
def test_another_suffix_is_refused_before_loading(name, tmp_path):
    with pytest.raises(ValueError, match="must end with '.keras'"):
        import_checkpoint("no/such/file", tmp_path / name)


def test_a_readme_is_never_replaced(checkpoint, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="must be a new file"):
        import_checkpoint(checkpoint, tmp_path / "net.keras", safetensors=True)
    assert os.listdir(tmp_path) == ["README.md"]


def test_a_model_of_this_package_is_refused(imported, tmp_path):
    with pytest.raises(ValueError, match="which `SimCLR.from_preset` loads as it is"):
        import_checkpoint(imported / "net.keras", tmp_path / "again.keras")


def test_a_wrong_argument_is_refused_before_loading(tmp_path):
    with pytest.raises(ValueError, match="Received: heads_on"):
        import_checkpoint("no/such/file", tmp_path / "net.keras", heads_on="h")


def test_a_full_disk_leaves_none_of_the_files(checkpoint, tmp_path, monkeypatch):
    save = keras.Model.save

    def full(model, path, *args, **options):
        save(model, path, *args, **options)
        if model.name == "classifier":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(OSError, match="No space left"):
        import_checkpoint(checkpoint, tmp_path / "net.keras", allow_supervised=True)
    assert os.listdir(tmp_path) == []


def test_a_missing_package_is_named_before_loading(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"keras-simclr\[checkpoints\]"):
        import_checkpoint("no/such/file", tmp_path / "net.keras", safetensors=True)
