"""What earlier versions have saved loads for ever, and returns the same."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from write_files import CONFIG, IMAGES, run

from keras_simclr import SimCLR

pytestmark = pytest.mark.usefixtures("eager")

VERSIONS = sorted(path.name for path in Path(__file__).parent.iterdir() if path.name[0].isdigit())


@pytest.fixture(params=VERSIONS)
def folder(request):
    return Path(__file__).parent / request.param


def check(outputs, folder, name):
    expected = np.load(folder / "expected.npz")[name]
    bound = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=bound)


@pytest.mark.parametrize("name", ["model", "encoder", "classifier"])
def test_a_saved_model_returns_the_same(name, folder):
    model = keras.saving.load_model(folder / f"{name}.keras")
    check(model.predict(IMAGES, verbose=0), folder, name)


def test_a_saved_projection_head_returns_the_same(folder):
    model = keras.saving.load_model(folder / "model.keras")
    z = model.projection_head(model.encoder(IMAGES))
    check(keras.ops.convert_to_numpy(z), folder, "z")


def test_a_saved_model_trains_on(folder):
    model = keras.saving.load_model(folder / "model.keras")
    assert model.pretrained
    history = model.fit(IMAGES, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_a_preset_returns_the_same(folder):
    model = SimCLR.from_preset(folder / "preset")
    check(model.predict(IMAGES, verbose=0), folder, "model")


def test_a_complete_run_is_restored_from_its_backup(folder, tmp_path):
    shutil.copytree(folder / "backup", tmp_path / "backup")
    model = run(tmp_path / "backup")
    check(model.predict(IMAGES, verbose=0), folder, "model")
    check(model.history.history["loss"], folder, "losses")


def test_configs_keep_their_values(folder):
    for name, config in json.loads((folder / "configs.json").read_text()).items():
        restored = keras.saving.deserialize_keras_object(config)
        found = json.loads(json.dumps(keras.saving.serialize_keras_object(restored)))
        for key, value in config["config"].items():
            assert found["config"][key] == value, f"{name}.{key}"


def test_a_config_of_a_command_has_the_same_options(folder):
    import typer

    from keras_simclr.cli.app import app
    from keras_simclr.cli.config_file import use_config

    assert yaml.safe_load((folder / "config.yaml").read_text()) == CONFIG
    command = typer.main.get_command(app).commands["pretrain"]
    context = typer.Context(command, info_name="pretrain")
    use_config(context, folder / "config.yaml")
    expected = {"image_size": 16, "backbone": "resnet18", "batch_size": 8, "epochs": 3, "seed": 5}
    assert expected.items() <= context.default_map.items()
