"""The examples and the README's code run, and a killed run goes on."""

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_simclr.models.classifier

ROOT = Path(__file__).parents[1]
PATIENCE = 300  # seconds


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return a function that starts `examples/stl10.py --smoke` in a process of its own."""
    shared = tmp_path_factory.mktemp("shared")
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "JAX_COMPILATION_CACHE_DIR": str(shared / "compiled"),
        "TMPDIR": str(shared),
    }

    def start(output):
        command = [sys.executable, ROOT / "examples/stl10.py", "--smoke", "--output", output]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def kill_when(process, happened):
    """Send SIGKILL as soon as `happened()`, and return what was printed."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"It ended, or took too long:\n{process.communicate()[0]}")
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


@pytest.fixture(scope="module")
def resumed(start, tmp_path_factory):
    """Return the folder of a run that was killed after its first epoch, and what was printed.

    Started again it was killed once more, as soon as its model was saved, and evaluated then.
    """
    output = tmp_path_factory.mktemp("resumed")
    first = kill_when(start(output), (output / "backup/epoch-1.weights.h5").exists)
    second = kill_when(start(output), (output / "model.keras").exists)
    third = start(output)
    try:
        printed = third.communicate(timeout=PATIENCE)[0]
    finally:
        third.kill()
    assert third.returncode == 0, printed
    return output, (first, second, printed)


def test_a_killed_run_goes_on_at_the_next_epoch(resumed):
    output, (first, second, _) = resumed
    assert "Epoch 1/2" in first
    assert "Epoch 1/2" not in second and "Epoch 2/2" in second
    with open(output / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_a_killed_run_ends_as_one_that_was_not(resumed, start, tmp_path):
    kill_when(start(tmp_path), (tmp_path / "model.keras").exists)
    runs = [keras.models.load_model(f / "model.keras") for f in (resumed[0], tmp_path)]
    for one, other in zip(*(run.get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pretrained_model_is_only_evaluated(resumed):
    output, (_, _, third) = resumed
    assert "pretraining is done" in third and "Epoch 2/2" not in third
    assert not (output / "backup").exists()


def test_stl10_tells_its_accuracies(resumed):
    results = json.loads((resumed[0] / "results.json").read_text())
    accuracy, folds = results["accuracy"], results["accuracy"]["linear_ten_folds"]
    for name in ("knn_all_labels", "linear_all_labels", "fine_tuned_all_labels"):
        assert 0 <= accuracy[name] <= 1
    assert len(folds["folds"]) == 10
    assert folds["mean"] == pytest.approx(np.mean(folds["folds"]))
    assert 0 <= folds["standard_error"] < 0.5
    assert (accuracy["labels"], accuracy["labels_a_fold"]) == (50, 10)
    assert results["settings"]["backend"] == keras.backend.backend()
    assert results["pretraining"]["loss"] > 0
    assert "linear probe, ten folds of 10 labels" in resumed[1][2]


@pytest.mark.parametrize("name", ["history.png", "views.png"])
def test_stl10_draws(name, resumed):
    assert (resumed[0] / name).read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def short_fine_tuning(monkeypatch):
    for name in ("EPOCHS", "STEPS_AN_EPOCH", "FROZEN_EPOCHS"):
        monkeypatch.setattr(keras_simclr.models.classifier, name, 2)


def test_the_quickstart_runs_when_shortened(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "examples/quickstart.py")
    quickstart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quickstart)
    short = {"PRETRAINING_EPOCHS": 1, "LABELS_PER_CLASS": (1,), "DRAWS": 2, "STEPS": 2}
    for name, value in short.items():
        monkeypatch.setattr(quickstart, name, value)
    (pictures, labels), test = quickstart.load_digits(image_size=16)
    few = (pictures[:200], labels[:200]), (test[0][:50], test[1][:50])
    monkeypatch.setattr(quickstart, "load_digits", lambda image_size: few)
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "--output", str(tmp_path)])
    quickstart.main()
    assert "±" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_example_of_many_devices_runs_on_two():
    command = [sys.executable]
    if keras.backend.backend() == "torch":
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [ROOT / "examples/multi_device.py", "--epochs", "1"]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Accuracy with 100 labels: ") == 1


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch, short_fine_tuning):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, 16, 16, 1)).astype("uint8")
    names = {
        "images": images,
        "unlabeled_ds": Batches(images),
        "labeled_ds": Batches(images, np.arange(16) % 2),
    }
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)


class Batches(keras.utils.PyDataset):
    """Batches of eight."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0]) // 8

    def __getitem__(self, index):
        return tuple(array[8 * index : 8 * index + 8] for array in self.arrays)
