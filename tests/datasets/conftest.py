"""A small STL-10 in its original format."""

import importlib.util
import tarfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def write_stl10():
    spec = importlib.util.spec_from_file_location("made_stl10", EXAMPLES / "made_stl10.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_stl10


@pytest.fixture(scope="session")
def archive(tmp_path_factory, write_stl10):
    """Return the path of an archive like the published one, with few images."""
    folder = tmp_path_factory.mktemp("published")
    write_stl10(folder / "stl10_binary", unlabeled=30, train=20, test=10)
    with tarfile.open(folder / "stl10_binary.tar.gz", "w:gz") as tar:
        tar.add(folder / "stl10_binary", "stl10_binary")
    return folder / "stl10_binary.tar.gz"
