"""The code in README.md and docs/ runs, and the files that they name exist."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_simclr.models.simclr
from keras_simclr import SimCLR
from keras_simclr.layers import presets

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.fixture
def image_folders(tmp_path, monkeypatch, rng):
    """Go to a folder with the image files of which the README speaks."""
    monkeypatch.chdir(tmp_path)
    for folder, count in (("photos", 4), ("labeled", 3), ("new", 2)):
        for name in ("cat", "dog"):
            (tmp_path / folder / name).mkdir(parents=True)
            for index in range(count):
                image = Image.fromarray(rng.integers(0, 256, (40, 50, 3)).astype("uint8"))
                image.save(tmp_path / folder / name / f"{index}.png")


@pytest.fixture
def shortened(monkeypatch):
    """Train for one step, with a small network in the place of named ones and simpler views."""
    one_step = {"epochs": 1, "steps_per_epoch": 1}
    fit, fine_tune, distill = SimCLR.fit, SimCLR.fine_tune, keras_simclr.models.distill

    def fit_for_one_step(self, *args, **options):
        return fit(self, *args, **{**options, **one_step})

    def fine_tune_for_one_step(self, *args, **options):
        return fine_tune(self, *args, **{**options, **one_step})

    def distill_for_one_step(*args, **options):
        return distill(*args, **{**options, **one_step})

    def small_network(name):
        return keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(4, 3, strides=4)])

    monkeypatch.setitem(presets.SMALL_GRAY, "color_distortion", 0.0)
    monkeypatch.setattr(SimCLR, "fit", fit_for_one_step)
    monkeypatch.setattr(SimCLR, "fine_tune", fine_tune_for_one_step)
    monkeypatch.setattr(keras_simclr.models, "distill", distill_for_one_step)
    monkeypatch.setattr(keras_simclr.models.simclr, "resnet_by_name", small_network)


def python_blocks(page):
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text())["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES + NOTEBOOKS, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, image_folders, shortened, eager):
    names = {}
    for block in python_blocks(page):
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize(("name", "count"), [("README.md", 2), ("docs/usage.md", 8)])
def test_a_page_shows_code(name, count):
    assert len(python_blocks(ROOT / name)) >= count


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page):
    for name in re.findall(r"\b(?:examples|benchmarks|docs)/[\w./]*\w", page.read_text()):
        assert (ROOT / name).exists(), name


def test_rows_of_predict_are_in_the_order_of_the_files(image_folders, backbone, eager):
    dataset = keras.utils.image_dataset_from_directory(
        "new", labels=None, image_size=(40, 50), batch_size=3, shuffle=False, verbose=False
    )
    model = SimCLR(backbone, seed=0)
    images = np.stack([np.asarray(Image.open(path)) for path in dataset.file_paths])
    np.testing.assert_allclose(
        model.predict(dataset, verbose=0), model.predict(images, verbose=0), atol=1e-5
    )
