"""Every benchmark runs, on tiny data and networks."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.once

FOLDER = Path(__file__).parents[1] / "benchmarks"
BACKEND = keras.backend.backend()
TESTED = {path.stem for path in FOLDER.glob("*.py")} - {"memory_use"}  # which others import


@pytest.fixture
def benchmark(monkeypatch, tiny_backbone):
    """Return a function that imports a benchmark by its name; the small ResNet becomes tiny."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def imported(name):
        module = importlib.import_module(name)
        if hasattr(module, "small_resnet"):
            monkeypatch.setattr(module, "small_resnet", lambda *args, **options: tiny_backbone())
        return module

    return imported


@pytest.fixture
def folder(tmp_path, rng):
    """Return a folder of ten classes with six images each."""
    for label in range(10):
        (tmp_path / str(label)).mkdir()
        for number in range(6):
            image = rng.integers(0, 256, (16, 16, 3)).astype("uint8")
            Image.fromarray(image).save(tmp_path / str(label) / f"{number}.jpg")
    return tmp_path


@pytest.fixture
def one_core(monkeypatch):
    """Let the processes of a benchmark compile plainly, and leave this process its cores."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setattr(os, "sched_setaffinity", lambda *args: None, raising=False)


def test_every_benchmark_is_tested():
    tests = Path(__file__).read_text()
    assert [name for name in sorted(TESTED) if f'"{name}"' not in tests] == []


def test_the_small_resnet_has_feature_maps_of_a_quarter_of_the_size(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    network = importlib.import_module("small_resnet").small_resnet()
    assert network.compute_output_shape((2, 32, 32, 3)) == (2, 8, 8, 128)


@pytest.mark.every_backend
@pytest.mark.parametrize("compare", ["compare_views", "compare_layers"])
def test_a_step_is_compared_with_others(compare, benchmark, monkeypatch, capsys):
    step = benchmark("step")
    monkeypatch.setattr(step, "BATCH_SIZE", 8)
    getattr(step, compare)(12, runs=1)
    assert f"{BACKEND} " in capsys.readouterr().out


def test_micro_batches_are_compared_with_plain_steps(benchmark, capsys):
    benchmark("step")
    benchmark("micro_batches").compare(8, 4, 12, rounds=1, network=None)
    assert "2 plain steps" in capsys.readouterr().out


def test_the_memory_of_a_step_in_micro_batches_is_measured(benchmark, monkeypatch, capsys):
    step = benchmark("step")
    micro_batches = benchmark("micro_batches")
    make = step.compiled
    monkeypatch.setattr(micro_batches, "compiled", lambda kind, size, _, **o: make(kind, size, **o))
    micro_batches.measure_memory(8, 4, 12)
    assert "micro-batches of 4, peak" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:This model was not pretrained")
def test_cifar10_is_pretrained_evaluated_and_fine_tuned(benchmark, monkeypatch, folder, capsys):
    cifar10 = benchmark("cifar10")
    monkeypatch.setattr(cifar10, "PER_CLASS", (4, 5, 6))
    options = ["--epochs", "1", "--images", "20", "--batch-size", "8", "--width", "4"]
    options += ["--muon", "0.01", "0.1", "--temperature", "0.2", "--decoupled", "--crop", "0.2"]
    cifar10.main([str(folder), *options])
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["loss"] > 0 and 0 <= row["knn"] <= 100


def test_a_contestant_trains_in_a_process_and_is_evaluated(benchmark, monkeypatch, folder, capsys):
    end_to_end, cifar10 = benchmark("end_to_end"), benchmark("cifar10")
    monkeypatch.setattr(cifar10, "PER_CLASS", (4, 5, 6))
    monkeypatch.setattr(os, "sched_setaffinity", lambda *args: None, raising=False)
    options = ["--only", BACKEND, "--epochs", "1", "--seeds", "0", "--batch-size", "8"]
    end_to_end.main([str(folder), *options])
    row = json.loads(capsys.readouterr().out)
    assert row["contestant"] == BACKEND and row["seconds"] > 0 and 0 <= row["linear"] <= 100


def test_the_network_of_lightly_is_evaluated_as_it_was_trained(benchmark, rng, tmp_path):
    """With the padding of PyTorch, and lightly's normalization of images."""
    import torch

    end_to_end = benchmark("end_to_end")
    network, pairs = end_to_end.torch_small_resnet(torch)
    for _, norm in pairs.values():
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 2)
    np.savez(tmp_path / "weights.npz", **end_to_end.keras_arrays(pairs))
    images = rng.integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    mean, deviation = torch.tensor(end_to_end.MEAN), torch.tensor(end_to_end.DEVIATION)
    scaled = (torch.tensor(images) / 255 - mean) / deviation
    with torch.no_grad():
        expected = network.eval()(scaled.permute(0, 3, 1, 2)).numpy()
    h = end_to_end.loaded("lightly", tmp_path / "weights.npz", 32).predict(images, verbose=0)
    np.testing.assert_allclose(h, expected, atol=1e-4 * np.abs(expected).max())


def test_memory_is_compared_with_formulas(benchmark, monkeypatch, capsys):
    memory = benchmark("memory")
    monkeypatch.setattr(memory, "peak_of", lambda name, count, *options: 0.5 + 0.01 * count)
    monkeypatch.setattr(memory, "alternate", lambda processes, rounds: {64: [[0.1, 2.0, 1.0]]})
    monkeypatch.setattr(memory, "start", lambda name, size: None)
    memory.compare_views([12], [8, 16])
    memory.compare_activations(["small_resnet"], [8, 16])
    memory.compare_logits([64])
    assert capsys.readouterr().out.count("ratio") == 4
    assert memory.view_maker(12, 4)() is False
    assert memory.plain_step("small_resnet", 4)() > 0


@pytest.mark.every_backend
def test_the_memory_of_loading_a_checkpoint_is_measured(benchmark, monkeypatch, tmp_path, capsys):
    loading = benchmark("loading")
    loaded = []
    monkeypatch.setattr(loading, "load_arrays", lambda folder, wanted: None)
    monkeypatch.setattr(loading, "load_checkpoint", lambda folder, **options: loaded.append(folder))
    (tmp_path / "model.data-00000-of-00001").write_bytes(bytes(2**20))
    loading.measure(tmp_path)
    assert loaded == [tmp_path]
    assert f"{BACKEND} 1 MiB: " in capsys.readouterr().out


def test_the_memory_held_over_time_is_printed(benchmark, monkeypatch, capsys):
    over_time = benchmark("memory_over_time")
    for name in ("STEPS_PER_EPOCH", "EPOCHS", "FITS", "MODELS"):
        monkeypatch.setattr(over_time, name, 1)
    for run in (over_time.steps, over_time.fits, over_time.models):
        run()
    assert capsys.readouterr().out.count("objects") == 3


@pytest.mark.every_backend
def test_the_loss_is_compared_with_the_dense_form(benchmark):
    nt_xent = benchmark("nt_xent")
    z = nt_xent.embeddings(32)
    nt_xent.check_losses({"ours": nt_xent.ours(*z)(), "dense": nt_xent.dense(*z)()})


def test_the_loss_is_timed_in_a_process_of_its_own(benchmark, one_core, capsys):
    benchmark("nt_xent").compare(32, [f"ours, {BACKEND}"], None, rounds=1)
    assert capsys.readouterr().out.count(" ms") == 1


@pytest.mark.every_backend
def test_views_are_timed(benchmark, monkeypatch, capsys):
    """In this process, of the peers only Keras' layers, as the others need packages."""
    views = benchmark("views")
    images = np.zeros((4, 32, 32, 3), "uint8")
    names = ["stock"] * (BACKEND == "tensorflow") + ["ours"]
    for name in names:
        getattr(views, name)(images)(0)
    rows = {name: [[0.1, 5.0]] for name in [*views.OURS, *views.PEERS]}
    views.report(32, rows)
    assert capsys.readouterr().out.count("per second") == len(rows)


@pytest.mark.parametrize("name", ["lightly", "albumentations", "kornia", "torchvision"])
def test_a_peer_creates_views(name, benchmark):
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # or built for another PyTorch
        pytest.skip(f"{name} cannot be imported: {error}")
    benchmark("views").__dict__[name](np.zeros((4, 32, 32, 3), "uint8"))(0)


@pytest.mark.every_backend
@pytest.mark.parametrize("reader", ["ours", "by_keras", "by_torch"])
def test_readers_of_a_folder_read_every_image(reader, benchmark, tmp_path):
    if BACKEND != {"ours": BACKEND, "by_keras": "tensorflow", "by_torch": "torch"}[reader]:
        pytest.skip("needs the framework of another backend")
    image_folder = benchmark("image_folder")
    image_folder.make(str(tmp_path), 4)
    assert getattr(image_folder, reader)(str(tmp_path), 16)() == 4


def test_the_figures_for_a_gpu_are_printed_beside_published_ones(benchmark, folder, capsys):
    for part in ("train", "test"):
        (folder / part).mkdir()
        for label in range(10):
            (folder / part / str(label)).symlink_to(folder / str(label))
    benchmark("gpu").main(["--smoke"])
    benchmark("gpu").main(["--smoke", "--data", str(folder), "--epochs", "10"])
    printed = capsys.readouterr().out
    assert "epoch 10, " in printed
    assert "images per second" in printed and "4,200" in printed
    assert "CIFAR-10, 4 views: linear" in printed
    assert keras.config.dtype_policy().name == "float32"


def test_a_step_of_muon_is_compared_with_that_of_keras(benchmark, capsys):
    benchmark("muon").main(["--networks", "resnet10_0.125x", "--rounds", "1"])
    assert "ratio" in capsys.readouterr().out


def test_the_gpu_benchmark_runs_as_a_command():
    command = [sys.executable, str(FOLDER / "gpu.py"), "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "--smoke" in done.stdout
