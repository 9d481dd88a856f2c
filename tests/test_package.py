"""The rules of the house: what imports what, who knows the backend, what is public."""

import ast
import doctest
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import pytest

import keras_simclr

pytestmark = pytest.mark.once

ROOT = Path(keras_simclr.__file__).parent
MODULES = sorted(
    module.name for module in pkgutil.walk_packages([str(ROOT)], prefix="keras_simclr.")
)
BOTTOM = {"validation", "view_size", "files", "download", "keras_internals"}
MAY_IMPORT = {
    "validation": set(),
    "view_size": set(),
    "files": set(),
    "download": {"files"},
    "keras_internals": set(),
    "distribution": {"keras_internals"},
    "ops": BOTTOM | {"distribution"},
    "optimizers": BOTTOM | {"ops"},
    "layers": BOTTOM | {"distribution", "ops"},
    "losses": BOTTOM | {"distribution", "ops"},
    "data": BOTTOM | {"distribution", "ops"},
    "checkpoints": BOTTOM,
    "datasets": BOTTOM | {"data"},
    "evaluation": BOTTOM | {"ops", "optimizers"},  # which trains from scratch, for comparison
    "plotting": BOTTOM,
    "__main__": {"cli"},
    "cli": BOTTOM
    | {
        "callbacks",
        "data",
        "datasets",
        "distribution",
        "evaluation",
        "layers",
        "models",
        "plotting",
        "report",
    },
    "callbacks": BOTTOM | {"distribution", "evaluation", "ops"},
    "training": BOTTOM
    | {"callbacks", "data", "distribution", "layers", "losses", "ops", "optimizers"},
    "report": BOTTOM | {"evaluation", "layers", "plotting"},
    "models": BOTTOM
    | {"callbacks", "checkpoints", "data", "distribution", "layers", "losses", "ops"}
    | {"optimizers", "training"},
}
KNOW_THE_BACKEND = {"ops", "training", "distribution", "keras_internals"}
READ_FILES = {"checkpoints"}  # with the library that wrote them, whatever the backend


def files_of(room):
    return [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else (ROOT / room).rglob("*.py")


def rooms_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == "keras_simclr":
                yield from (alias.name for alias in node.names if alias.name != "__version__")
            elif name.startswith("keras_simclr."):
                yield name.split(".")[1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    for path in files_of(room):
        assert set(rooms_imported_by(path)) <= MAY_IMPORT[room] | {room}, path


def test_every_room_has_its_rule():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    assert rooms | modules == set(MAY_IMPORT)


def test_no_room_imports_itself_by_way_of_others():
    def reaches(room, seen=()):
        return room in seen or any(reaches(other, (*seen, room)) for other in MAY_IMPORT[room])

    assert not any(map(reaches, MAY_IMPORT))


def test_only_some_rooms_know_the_backend():
    for path in ROOT.rglob("*.py"):
        if not KNOW_THE_BACKEND & {path.parent.name, path.stem}:
            text = path.read_text()
            assert "backend.backend()" not in text, path
            if path.parent.name not in READ_FILES:
                for word in ("import tensorflow", "import jax", "import torch"):
                    assert word not in text, path


def test_private_names_of_others_stand_in_one_room():
    """Attributes with an underscore belong to `self`, to `cls` or to the own module."""
    for path in ROOT.rglob("*.py"):
        if path.parent.name == "keras_internals":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
                owner = getattr(node.value, "id", "super()")
                assert owner in {"self", "_backend", "super()", "parameters"}, (path, node.lineno)


def test_all_namespaces_are_there_after_importing_the_package():
    code = (
        "import keras_simclr as k; k.callbacks.BackupAndRestore, k.datasets.load_digits,"
        "k.checkpoints.load_arrays, k.models.load_checkpoint,"
        "k.evaluation.knn_accuracy, k.layers.RandomGrayscale, k.losses.NTXentLoss,"
        "k.models.ResNet, k.optimizers.LARS, k.optimizers.ConvMuon, k.plotting.plot_views"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_there_is_one_version_number():
    assert importlib.metadata.version("keras-simclr") == keras_simclr.__version__


OLD_WORDS = (
    r"\bpictures?\b|\brivals?\b|\bfeeds?\b|\breckon|\btells?\b|\blabels a class\b|\blest\b"
    r"|\bgoes on\b|\bin turn\b|\bper cent\b|\bfor ever\b|^ *Source: (?=[A-Z])"
)


def test_the_words_are_those_of_the_field():
    for path in [*ROOT.rglob("*.py"), *ROOT.parent.glob("*.md"), *ROOT.parent.glob("docs/*.md")]:
        found = re.search(OLD_WORDS, path.read_text(), re.MULTILINE)
        assert not found, (path, found.group())


NAMESPACES = (
    "callbacks checkpoints datasets evaluation layers losses models optimizers plotting report"
).split()


def exported():
    """Return what users import, by name: the objects of all namespaces."""
    return {
        name: value
        for namespace in NAMESPACES
        for name, value in vars(getattr(keras_simclr, namespace)).items()
        if inspect.isclass(value) or inspect.isfunction(value)
    }


@pytest.mark.parametrize("name", exported())
def test_public_signatures_are_annotated(name):
    value = exported()[name]
    function = value.__init__ if inspect.isclass(value) else value
    parameters = inspect.signature(function).parameters.values()
    assert [p.name for p in parameters if p.annotation is p.empty and p.name != "self"] == []


def test_every_public_object_is_exported_by_one_namespace():
    names = [
        name
        for namespace in NAMESPACES
        for name, value in vars(getattr(keras_simclr, namespace)).items()
        if inspect.isclass(value) or inspect.isfunction(value)
    ]
    assert len(names) == len(set(names))


LAYERS = [
    n for n, v in exported().items() if inspect.isclass(v) and issubclass(v, keras.layers.Layer)
]


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"SimCLR"}))
def test_layers_come_back_from_their_configs(name):
    arguments = {
        "CenterCropAndResize": {"image_size": 8},
        "TwoAugmenters": {
            "first": keras_simclr.SimCLRAugmenter(seed=1),
            "second": keras_simclr.SimCLRAugmenter(seed=2),
        },
    }
    layer = exported()[name](**arguments.get(name, {}))
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config


def test_importing_the_package_loads_only_keras_and_numpy():
    code = (
        "import keras, sys; before = set(sys.modules); import keras_simclr;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new & {'sklearn', 'matplotlib', 'PIL', 'keras_cv', 'keras_hub', 'grain',"
        "'safetensors', 'tensorflow', 'jax', 'torch'}))"
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
            own = (getattr(value, "__module__", "") or "").startswith("keras_simclr")
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
    parts = {
        "LoggedMetrics",
        "RecipeCompiler",
        "Trainer",
        "FineTuner",
        "PresetMethods",
        "Exporter",
    }  # of SimCLR, never saved by themselves
    for name, value in public_objects():
        if inspect.isclass(value) and issubclass(value, bases) and value.__name__ not in parts:
            registered = keras.saving.get_registered_name(value)
            assert registered == f"keras_simclr>{value.__name__}", name


@pytest.mark.parametrize("kind", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_what_keras_deprecates_fails_the_tests(kind):
    with pytest.raises(kind, match="later"):
        warnings.warn("will be removed later", kind, stacklevel=1)
