"""The rules of the house: what imports what, who knows the backend, what is public."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

import keras_simclr

ROOT = Path(keras_simclr.__file__).parent
MODULES = sorted(
    module.name for module in pkgutil.walk_packages([str(ROOT)], prefix="keras_simclr.")
)
MAY_IMPORT = {
    "layers": {"training"},
    "losses": {"distribution", "training"},
    "optimizers": set(),
    "datasets": set(),
    "plotting": set(),
    "distribution": set(),
    "training": {"distribution"},
    "evaluation": set(),
    "callbacks": {"distribution"},
    "models": {"distribution", "layers", "losses", "optimizers", "training"},
}
KNOW_THE_BACKEND = {"training", "distribution"}


def rooms_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == "keras_simclr":
                yield from (alias.name for alias in node.names)
            elif name.startswith("keras_simclr."):
                yield name.split(".")[1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    for path in (ROOT / room).rglob("*.py"):
        assert set(rooms_imported_by(path)) <= MAY_IMPORT[room] | {room}, path


def test_every_room_has_its_rule():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms == set(MAY_IMPORT)


def test_only_training_and_distribution_know_the_backend():
    for path in ROOT.rglob("*.py"):
        if path.parent.name not in KNOW_THE_BACKEND:
            text = path.read_text()
            for word in ("backend.backend()", "import tensorflow", "import jax", "import torch"):
                assert word not in text, path


def test_importing_the_package_loads_only_keras_and_numpy():
    code = (
        "import keras, sys; before = set(sys.modules); import keras_simclr;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new & {'sklearn', 'matplotlib', 'PIL', 'keras_cv', 'keras_hub', 'grain',"
        "'tensorflow', 'jax', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def public_objects():
    for name in ["keras_simclr", *MODULES]:
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            own = getattr(value, "__module__", "").startswith("keras_simclr")
            if (
                own
                and not key.startswith("_")
                and inspect.isroutine(value) | inspect.isclass(value)
            ):
                yield f"{value.__module__}.{key}", value


def test_every_public_name_is_documented():
    assert [name for name, value in public_objects() if not inspect.getdoc(value)] == []


def test_every_keras_object_is_registered_for_saving():
    bases = (keras.layers.Layer, keras.losses.Loss, keras.optimizers.Optimizer)
    for name, value in public_objects():
        if inspect.isclass(value) and issubclass(value, bases):
            registered = keras.saving.get_registered_name(value)
            assert registered == f"keras_simclr>{value.__name__}", name
