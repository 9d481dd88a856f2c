"""What is saved on one backend is the same on the others, fine-tunes there, and goes back."""

import os
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import keras
import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "saved_models.py"
BACKENDS = ("tensorflow", "jax", "torch")
PAIRS = list(permutations(BACKENDS, 2))
RING = [("tensorflow", "jax"), ("jax", "torch"), ("torch", "tensorflow")]
PARTS = ("model", "encoder", "classifier")


class Process:
    """A process on a backend that runs one command after the other."""

    def __init__(self, backend, folder):
        environment = {
            "KERAS_BACKEND": backend,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        self.said = (folder / f"{backend}.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, folder],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
        )

    def do(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        while answer and answer != "done\n":
            answer = self.process.stdout.readline()
        assert answer, Path(self.said.name).read_text()[-3000:]

    def close(self):
        self.process.kill()
        self.process.communicate()
        self.said.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with everything that three processes, one per backend, have saved."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares all three backends, once")
    folder = tmp_path_factory.mktemp("saved")
    processes = {}
    try:
        for backend in BACKENDS:
            processes[backend] = Process(backend, folder)
            processes[backend].do("create")
        for origin, other in PAIRS:
            processes[other].do("fine_tune" if (origin, other) in RING else "load", origin)
        for origin, other in RING:
            processes[origin].do("take_back", other)
        yield folder
    finally:
        for process in processes.values():
            process.close()
        shutil.rmtree(folder)


def check_close(found, expected, part):
    bound = 1e-4 * np.abs(expected[part]).max()
    np.testing.assert_allclose(found[part], expected[part], rtol=0, atol=bound)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_a_saved_model_returns_the_same_on_another_backend(part, origin, other, folder):
    found, expected = (np.load(folder / f"{name}.npz") for name in (f"{origin}-on-{other}", origin))
    check_close(found, expected, part)


@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_weights_statistics_and_seed_are_the_same_bit_for_bit(origin, other, folder):
    found, expected = (np.load(folder / f"{name}.npz") for name in (f"{origin}-on-{other}", origin))
    assert len(found["weights"]) > 100
    np.testing.assert_array_equal(found["weights"], expected["weights"])
    assert found["seed"] == 7 and found["pretrained"]


@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_a_loaded_model_is_compiled_as_its_new_backend_prefers(origin, other, folder):
    found = np.load(folder / f"{origin}-on-{other}.npz")
    expected = {"jax": True, "torch": False}.get(other, found["auto"])  # TensorFlow: on a GPU
    assert (found["jit_compile"] == expected).all()


@pytest.mark.parametrize(("origin", "other"), RING)
def test_fine_tuning_there_changes_the_classifier(origin, other, folder):
    before, after = (np.load(folder / f"{name}.npz") for name in (origin, f"{origin}-by-{other}"))
    assert np.isfinite(after["classifier"]).all()
    assert np.abs(after["classifier"] - before["classifier"]).max() > 1e-3


@pytest.mark.parametrize(("origin", "other"), RING)
def test_what_was_fine_tuned_there_goes_back(origin, other, folder):
    names = f"{origin}-from-{other}", f"{origin}-by-{other}"
    found, expected = (np.load(folder / f"{name}.npz") for name in names)
    check_close(found, expected, "classifier")
