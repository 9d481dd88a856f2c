import json
import os
import shutil

import keras
import numpy as np
import pytest
from torchvision_names import random_resnet18

from keras_simclr import SimCLR, SimCLRAugmenter
from keras_simclr.checkpoints import PublishedModel
from keras_simclr.checkpoints.registry import PUBLISHED_MODELS
from keras_simclr.files import set_aside

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


@pytest.fixture(scope="module")
def folder(pretrained, tmp_path_factory):
    """Return the folder of a saved preset, which no test changes."""
    folder = tmp_path_factory.mktemp("presets") / "mine"
    pretrained.save_to_preset(folder)
    return folder


@pytest.fixture
def own_folder(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "mine")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Return a ResNet-18 for small views, and the folder of its preset."""
    model = SimCLR("resnet18", seed=0)
    model.build((None, 16, 16, 3))
    folder = tmp_path_factory.mktemp("presets") / "resnet"
    model.save_to_preset(folder)
    return model, folder


def h(model, images):
    return keras.ops.convert_to_numpy(model(images))


def z(model, images):
    return keras.ops.convert_to_numpy(model.projection_head(model(images)))


def test_a_preset_has_the_files_of_keras_hub(folder):
    assert sorted(os.listdir(folder)) == ["config.json", "metadata.json", "model.weights.h5"]


def test_a_loaded_preset_returns_the_same_h_and_z_bit_for_bit(pretrained, folder, labeled_images):
    loaded = SimCLR.from_preset(folder)
    images = labeled_images[0]
    np.testing.assert_array_equal(h(loaded, images), h(pretrained, images))
    np.testing.assert_array_equal(z(loaded, images), z(pretrained, images))


def test_a_loaded_preset_has_the_settings_of_the_model(make_model, tmp_path):
    given = {"temperature": 0.3, "seed": 7, "num_views": 3, "micro_batch_size": 2}
    augmenter = SimCLRAugmenter(image_size=8, blur=0.25, value_range=(0, 1), seed=5)
    model = make_model(**given, augmenter=augmenter, value_range=(0, 1))
    model.build((None, 12, 12, 3))
    model.save_to_preset(tmp_path / "mine")
    loaded = SimCLR.from_preset(str(tmp_path / "mine"))
    assert {name: getattr(loaded, name) for name in given} == given
    assert loaded.value_range == (0, 1)
    assert loaded.augmenter.get_config() == model.augmenter.get_config()


@pytest.mark.every_backend
def test_a_loaded_preset_was_pretrained_and_fine_tunes(folder, labeled_images):
    loaded = SimCLR.from_preset(folder)
    assert loaded.pretrained
    classifier = loaded.fine_tune(*labeled_images, epochs=1, verbose=0)
    assert np.isfinite(classifier.predict(labeled_images[0], verbose=0)).all()


def test_a_loaded_preset_can_be_pretrained_further(folder, labeled_images):
    loaded = SimCLR.from_preset(folder)
    before = loaded.encoder.get_weights()
    loaded.fit(labeled_images[0], verbose=0)
    after = loaded.encoder.get_weights()
    assert all(np.any(a != b) for a, b in zip(after, before, strict=True))


def test_a_named_network_keeps_its_stem_whatever_the_size_of_the_views(resnet):
    model, folder = resnet
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3))
    loaded = SimCLR.from_preset(folder, image_size=40)
    np.testing.assert_array_equal(h(loaded, images), h(model, images))
    assert loaded.image_size == (40, 40)


def test_settings_can_be_replaced_when_loading(pretrained, folder, labeled_images):
    augmenter = SimCLRAugmenter(image_size=12, seed=3)
    loaded = SimCLR.from_preset(folder, temperature=0.7, seed=9, augmenter=augmenter)
    assert (loaded.temperature, loaded.seed, loaded.augmenter) == (0.7, 9, augmenter)
    np.testing.assert_array_equal(h(loaded, labeled_images[0]), h(pretrained, labeled_images[0]))


def test_a_value_range_that_a_backbone_does_not_expect_is_refused(folder):
    with pytest.raises(ValueError, match=r"Received: value_range=\(0, 1\), expected \(0, 255\)"):
        SimCLR.from_preset(folder, value_range=(0, 1))


def test_a_network_of_this_package_takes_another_value_range(resnet):
    model, folder = resnet
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    loaded = SimCLR.from_preset(folder, value_range=(0, 1))
    expected = h(model, 255 * images)
    np.testing.assert_allclose(h(loaded, images), expected, atol=1e-5 * expected.max())


def test_a_saved_file_is_loaded_like_a_preset(pretrained, labeled_images, tmp_path):
    pretrained.save(tmp_path / "model.keras")
    loaded = SimCLR.from_preset(tmp_path / "model.keras", temperature=0.7)
    assert loaded.temperature == 0.7
    np.testing.assert_array_equal(h(loaded, labeled_images[0]), h(pretrained, labeled_images[0]))


def test_neither_optimizer_nor_classifier_are_saved(make_model, labeled_images, tmp_path):
    import h5py

    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    model.fine_tune(*labeled_images, epochs=1, verbose=0)
    model.save_to_preset(tmp_path / "mine")
    with h5py.File(tmp_path / "mine" / "model.weights.h5") as file:
        assert not {"optimizer", "classifier"} & set(file)
    assert model.classifier is not None and model.optimizer.iterations > 0


def test_the_metadata_name_versions_and_parameters(pretrained, folder):
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["keras_version"] == keras.version()
    assert metadata["parameter_count"] == pretrained.count_params()


def test_a_preset_is_replaced_by_a_new_one(own_folder, make_model):
    model = make_model(temperature=0.9)
    model.build((None, 12, 12, 3))
    model.save_to_preset(own_folder)
    assert SimCLR.from_preset(own_folder).temperature == 0.9
    assert os.listdir(own_folder.parent) == ["mine"]


def test_an_empty_folder_is_used(pretrained, tmp_path):
    pretrained.save_to_preset(tmp_path)
    assert (tmp_path / "config.json").exists()


def test_a_folder_with_other_files_is_refused(pretrained, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ValueError, match="must be a new folder, an empty one or a preset"):
        pretrained.save_to_preset(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_preset_with_other_files_is_not_replaced(own_folder, pretrained):
    (own_folder / "notes.md").write_text("important")
    with pytest.raises(ValueError, match=r"has other files: \['notes.md'\]"):
        pretrained.save_to_preset(own_folder)
    assert (own_folder / "notes.md").read_text() == "important"


def test_a_preset_whose_replacement_was_killed_is_loaded_and_replaced(own_folder, pretrained):
    own_folder.rename(set_aside(own_folder))  # as a process killed between two renames leaves it
    assert SimCLR.from_preset(own_folder).temperature == pretrained.temperature
    pretrained.save_to_preset(own_folder)
    assert os.listdir(own_folder.parent) == ["mine"]


def test_a_file_is_not_a_folder(pretrained, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="`preset_dir` must be a folder"):
        pretrained.save_to_preset(tmp_path / "file")


def test_a_url_is_not_a_folder(pretrained):
    with pytest.raises(ValueError, match="must be a folder. Received: 'hf://lab/net'"):
        pretrained.save_to_preset("hf://lab/net")


def test_a_model_that_was_not_built_cannot_be_saved(make_model, tmp_path):
    with pytest.raises(ValueError, match="model.build"):
        make_model().save_to_preset(tmp_path / "mine")
    assert os.listdir(tmp_path) == []


def test_an_error_while_saving_keeps_the_old_preset(own_folder, pretrained, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SimCLR, "save_weights", full)
    before = (own_folder / "config.json").read_text()
    with pytest.raises(OSError, match="No space left"):
        pretrained.save_to_preset(own_folder)
    assert os.listdir(own_folder.parent) == ["mine"]
    assert (own_folder / "config.json").read_text() == before


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_preset_with_a_missing_file_is_refused(own_folder, name):
    (own_folder / name).unlink()
    with pytest.raises(ValueError, match="cannot be loaded"):
        SimCLR.from_preset(own_folder)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_a_truncated_preset_is_refused(own_folder, name):
    content = (own_folder / name).read_bytes()
    (own_folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be loaded"):
        SimCLR.from_preset(own_folder)


def test_a_preset_of_another_class_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="must be a saved `SimCLR`. Received: a `Sequential`"):
        SimCLR.from_preset(tmp_path / "model.keras")


def test_arguments_of_checkpoints_are_refused_for_presets(folder):
    with pytest.raises(ValueError, match=r"Received: \['head_on'\]"):
        SimCLR.from_preset(folder, head_on="h")


def test_an_unknown_preset_names_similar_ones():
    with pytest.raises(ValueError, match="no published model.*'resnet50_1x_simclr'"):
        SimCLR.from_preset("resnet50_1x_simclr")


@pytest.fixture
def published(server, tmp_path, monkeypatch, rng):
    """Publish a ResNet-18 on a local web server, under the name "published"."""
    numpy = pytest.importorskip("safetensors.numpy")
    monkeypatch.setenv("KERAS_SIMCLR_HOME", str(tmp_path / "cache"))
    server.files["/net.safetensors"] = numpy.save(random_resnet18(rng))
    facts = {"format": "PyTorch", "source": "here", "license": "MIT", "depth": 18}
    model = PublishedModel(
        "published", f"{server.root}/net.safetensors", normalization=(0.0, 1.0), **facts
    )
    monkeypatch.setitem(PUBLISHED_MODELS, "published", model)
    return model


def test_a_published_model_is_downloaded_and_loaded(published, server):
    images = np.random.default_rng(0).random((2, 64, 64, 3), "float32")
    model = SimCLR.from_preset("published", value_range=(0, 1), temperature=0.2)
    again = SimCLR.from_preset("published", value_range=(0, 1))
    assert server.paths == ["/net.safetensors"]
    assert model.temperature == 0.2 and model.pretrained
    np.testing.assert_array_equal(h(model, images), h(again, images))


@pytest.mark.parametrize(
    "argument",
    [{"heads_on": "h"}, {"head_on": "z"}, {"temperature": -1}, {"backbone": "resnet18"}],
    ids=str,
)
def test_a_wrong_argument_is_refused_before_the_download(argument, published, server):
    with pytest.raises(ValueError, match=next(iter(argument))):
        SimCLR.from_preset("published", **argument)
    assert server.paths == []


def test_the_classifier_of_a_checkpoint_is_kept(published):
    model = SimCLR.from_preset("published", value_range=(0, 1))
    assert model.classifier.output_shape == (None, 4)


@pytest.mark.every_backend
def test_a_checkpoint_becomes_a_preset(published, tmp_path):
    images = np.random.default_rng(0).random((2, 64, 64, 3), "float32")
    model = SimCLR.from_preset("published", value_range=(0, 1))
    model.save_to_preset(tmp_path / "mine")
    loaded = SimCLR.from_preset(tmp_path / "mine")
    np.testing.assert_array_equal(h(loaded, images), h(model, images))


def test_what_is_known_of_a_listed_model_counts_under_its_url_as_well(monkeypatch, tmp_path):
    from keras_simclr.models import preset_methods

    monkeypatch.setattr(preset_methods, "fetch_from_hub", lambda url: tmp_path)
    url = "hf://lightly-ai/simclrv1-imagenet1k-resnet50-1x"
    for listed in (url, f"{url}/", f"{url}/resnet50-1x.pth"):
        _, known = preset_methods.locate(listed)
        assert known["style"] == "simclr" and known["normalization"] == (0.0, 1.0)
    for other in ("hf://lab/net", f"{url}-other"):
        assert preset_methods.locate(other) == (tmp_path, {})


def test_a_folder_with_one_weights_file_stands_for_it(tmp_path):
    from keras_simclr.models import preset_methods

    (tmp_path / "net.pth").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("what it is")
    assert preset_methods.locate(tmp_path) == (tmp_path / "net.pth", {})
