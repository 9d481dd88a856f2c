"""Files of others run no code."""

import ast
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_simclr
from keras_simclr import SimCLR

pytestmark = pytest.mark.once

ROOT = Path(keras_simclr.__file__).parent
RUNS_CODE = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "subprocess"}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "extractall"}
SAFE = {"safe_mode": True, "allow_pickle": False, "weights_only": True, "shell": False}


def unsafe(tree):
    """Return the lines that could run code of a file, or unpack it anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            names = {module or "", *(alias.name for alias in node.names)}
            used = {name.split(".")[0] for name in names} & RUNS_CODE
            if used and names != {"pickle", "UnpicklingError"}:
                yield node.lineno
        elif isinstance(node, ast.Call):
            own = isinstance(node.func, ast.Attribute) and node.func.attr in {"compile"}
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in CALLS and not own:
                yield node.lineno
            for keyword in node.keywords:
                if keyword.arg in SAFE and ast.unparse(keyword.value) != str(SAFE[keyword.arg]):
                    yield node.lineno


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_in_the_package_runs_code_from_a_file(path):
    assert list(unsafe(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "np.load(path, allow_pickle=True)",
        "keras.models.load_model(path, safe_mode=False)",
        "os.system(command)",
        "archive.extractall(folder)",
    ],
)
def test_code_that_could_is_found(line):
    assert list(unsafe(ast.parse(line))) == [1]


@pytest.fixture
def marker(tmp_path):
    """Return the path of a file that only code in a model would create."""
    return tmp_path / "code-ran"


def save(path, *special):
    backbone = keras.Sequential([layers.Rescaling(1 / 255), *special, layers.Conv2D(2, 3)])
    model = SimCLR(backbone, augmenter=layers.Identity(), seed=0)
    model(np.zeros((2, 8, 8, 1), "uint8"))
    model.save(path)


@pytest.mark.filterwarnings("ignore:.*lambda")
def test_a_lambda_in_a_saved_model_does_not_run(tmp_path, marker):
    name = str(marker)
    run = layers.Lambda(lambda images, name=name: images if open(name, "a") else images)
    save(tmp_path / "model.keras", run)
    marker.unlink()
    with pytest.raises(ValueError, match="(?i)lambda"):
        keras.models.load_model(tmp_path / "model.keras")
    assert not marker.exists()


@pytest.mark.parametrize("where", ["backbone", "projection_head", "augmenter"])
def test_a_function_named_in_a_saved_model_does_not_run(tmp_path, marker, where):
    path = tmp_path / "model.keras"
    save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    call = {"module": "os", "class_name": "mkdir", "config": {"path": str(marker)}}
    config["config"][where] = {**call, "registered_name": None}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, "config.json": json.dumps(config)}.items():
            archive.writestr(name, content)
    with pytest.raises((TypeError, ValueError)):
        keras.models.load_model(path)
    assert not marker.exists()
