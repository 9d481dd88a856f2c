"""The examples run, and a killed run resumes."""

import csv
import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PATIENCE = 300  # seconds


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Return a function that starts `examples/stl10.py --smoke` in a separate process.

    On TensorFlow its few steps run eagerly, unless it starts the script itself.
    """
    shared = tmp_path_factory.mktemp("shared")
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "JAX_COMPILATION_CACHE_DIR": str(shared / "compiled"),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "TMPDIR": str(shared),
    }

    def start(output, program=(__file__, "stl10")):
        command = [sys.executable, *program, "--smoke", "--output", output]
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
            pytest.fail(f"The process ended, or took too long:\n{process.communicate()[0]}")
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


@pytest.fixture(scope="module")
def resumed(start, tmp_path_factory):
    """Return the folder of a run that was killed after its first epoch, and what each run printed.

    The second run was killed as soon as its model was saved; the third only evaluates it.
    """
    output = tmp_path_factory.mktemp("resumed")
    first = kill_when(start(output), (output / "backup/epoch-1-step-0.backup").exists)
    second = kill_when(start(output), (output / "model.keras").exists)
    third = start(output, [ROOT / "examples/stl10.py"])
    try:
        printed = third.communicate(timeout=PATIENCE)[0]
    finally:
        third.kill()
    assert third.returncode == 0, printed
    return output, (first, second, printed)


def test_a_killed_run_resumes_at_the_next_epoch(resumed):
    output, (first, second, _) = resumed
    assert "Epoch 1/2" in first
    assert "Epoch 1/2" not in second and "Epoch 2/2" in second
    with open(output / "history.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]


def test_a_killed_run_ends_as_one_that_was_not(resumed, start, tmp_path):
    import keras_simclr  # noqa: F401 - registers the classes of the model

    kill_when(start(tmp_path), (tmp_path / "model.keras").exists)
    runs = [keras.models.load_model(f / "model.keras") for f in (resumed[0], tmp_path)]
    for one, other in zip(*(run.get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pretrained_model_is_only_evaluated(resumed):
    output, (_, _, third) = resumed
    assert "pretraining is done" in third and "Epoch 2/2" not in third
    assert not (output / "backup").exists()


def test_stl10_reports_its_accuracies(resumed):
    results = json.loads((resumed[0] / "results.json").read_text())
    accuracy, folds = results["accuracy"], results["accuracy"]["linear_ten_folds"]
    for name in ("knn_all_labels", "linear_all_labels", "fine_tuned_all_labels"):
        assert 0 <= accuracy[name] <= 1
    assert len(folds["folds"]) == 10
    assert folds["mean"] == pytest.approx(np.mean(folds["folds"]))
    assert 0 <= folds["standard_error"] < 0.5
    assert (accuracy["labels"], accuracy["labels_per_fold"]) == (50, 10)
    assert results["settings"]["backend"] == keras.backend.backend()
    assert results["pretraining"]["loss"] > 0
    assert "linear probe, ten folds of 10 labels" in resumed[1][2]


@pytest.mark.parametrize("name", ["history.png", "views.png"])
def test_stl10_writes_figures(name, resumed):
    assert (resumed[0] / name).read_bytes().startswith(b"\x89PNG")


def loaded(name):
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.every_backend
def test_the_quickstart_runs_when_shortened(tmp_path, monkeypatch, capsys, eager):
    quickstart = loaded("quickstart")
    short = {"PRETRAINING_EPOCHS": 1, "LABELS_PER_CLASS": (1,), "DRAWS": 2, "STEPS": 2}
    for name, value in short.items():
        monkeypatch.setattr(quickstart, name, value)
    (images, labels), test = quickstart.load_digits(image_size=16)
    few = (images[:200], labels[:200]), (test[0][:50], test[1][:50])
    monkeypatch.setattr(quickstart, "load_digits", lambda image_size: few)
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "--output", str(tmp_path)])
    quickstart.main()
    assert "±" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 3


def run_stl10():
    """Run the STL-10 example, eagerly on TensorFlow, where compiling takes most of the time."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
    loaded("stl10").main()


def run_multi_device():
    """Run the multi-device example with 256 images of pretraining and one epoch of fine-tuning."""
    example = loaded("multi_device")
    (images, labels), test = example.load_digits(image_size=16)
    example.load_digits = lambda image_size: ((images[:256], labels[:256]), test)
    fine_tune = example.SimCLR.fine_tune
    example.SimCLR.fine_tune = functools.partialmethod(fine_tune, epochs=1)
    example.main()


def test_the_multi_device_example_runs_on_two_devices():
    command = [sys.executable]
    if keras.backend.backend() == "torch":
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [__file__, "multi_device", "--epochs", "1"]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Accuracy with 100 labels: ") == 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "examples"))
    {"stl10": run_stl10, "multi_device": run_multi_device}[sys.argv.pop(1)]()
