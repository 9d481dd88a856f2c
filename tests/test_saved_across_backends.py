"""What is saved on one backend is the same on the others, fine-tunes there, and goes back."""

import os
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
PARTS = ("model", "encoder", "classifier")


class Process:
    """A process on a backend that runs one command after the other."""

    def __init__(self, backend, folder):
        environment = {"KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        self.said = folder / f"{backend}.txt"
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, folder],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said.open("w"),
            text=True,
        )

    def do(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        while answer and answer != "done\n":
            answer = self.process.stdout.readline()
        assert answer, self.said.read_text()[-3000:]

    def close(self):
        self.process.kill()
        self.process.communicate()


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
            processes[other].do("adopt", origin)
        for origin, other in PAIRS:
            processes[origin].do("load", f"{origin}-by-{other}")
    finally:
        for process in processes.values():
            process.close()
    return folder


def check_close(found, expected, part):
    bound = 1e-4 * np.abs(expected[part]).max()
    np.testing.assert_allclose(found[part], expected[part], rtol=0, atol=bound)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_a_saved_model_returns_the_same_on_another_backend(part, origin, other, folder):
    check_close(
        np.load(folder / f"{origin}-on-{other}.npz"), np.load(f"{folder}/{origin}.npz"), part
    )


@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_weights_statistics_and_seed_are_bit_for_bit_the_same(origin, other, folder):
    found, expected = (
        np.load(folder / f"{origin}-on-{other}.npz"),
        np.load(f"{folder}/{origin}.npz"),
    )
    names = [name for name in expected.files if name.startswith("weight")]
    assert len(names) > 100
    for name in (*names, "seed"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found["pretrained"]


@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_fine_tuning_there_changes_the_classifier(origin, other, folder):
    before, after = np.load(f"{folder}/{origin}.npz"), np.load(folder / f"{origin}-by-{other}.npz")
    assert np.isfinite(after["classifier"]).all()
    np.testing.assert_array_equal(after["weight_0"], before["weight_0"])


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("origin", "other"), PAIRS)
def test_what_was_fine_tuned_there_goes_back(part, origin, other, folder):
    found = np.load(folder / f"{origin}-by-{other}-on-{origin}.npz")
    check_close(found, np.load(folder / f"{origin}-by-{other}.npz"), part)
