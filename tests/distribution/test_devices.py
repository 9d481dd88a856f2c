"""Runs on 2 and 4 devices against the same run on one."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "program.py"

for_each_number = pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.once)])


def launched(folder, devices):
    """Run the program on a number of devices; return its arrays and its errors."""
    command = [sys.executable]
    if keras.backend.backend() == "torch" and devices > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    command += [str(PROGRAM), str(folder), str(devices)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-5000:]
    errors = json.loads((folder / f"{devices}.json").read_text())
    return dict(np.load(folder / f"{devices}.npz")), errors


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return functools.cache(lambda devices: launched(folder, devices))


@pytest.fixture
def one(runs):
    return runs(1)[0]


@pytest.fixture
def two(runs):
    return runs(2)[0]


def largest_difference(found, expected, kind):
    """Return the largest difference of arrays of a kind, relative to each one's largest entry."""
    names = [name for name in expected if name.startswith(kind)]
    assert names
    return max(
        np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max() for name in names
    )


@for_each_number
def test_the_loss_and_the_logs_agree_with_one_device(devices, runs, one):
    found = runs(devices)[0]
    for name in ("loss", "relative_loss", "contrastive_accuracy", "gradient_norm"):
        assert found[name] == pytest.approx(one[name], rel=1e-5), name


@for_each_number
def test_the_gradient_of_every_variable_agrees_with_one_device(devices, runs, one):
    assert largest_difference(runs(devices)[0], one, "gradient") < 1e-3


@for_each_number
def test_moving_statistics_agree_with_one_device(devices, runs, one):
    """To 1e-5 of a value, or of the unit of what is normalized where the value is nearly 0."""
    for name in (name for name in one if name.startswith("statistic")):
        np.testing.assert_allclose(runs(devices)[0][name], one[name], rtol=1e-5, atol=1e-6)


@for_each_number
def test_views_are_the_same_where_a_device_has_no_multiple_of_16_images(devices, runs, one):
    found = runs(devices)[0]
    assert found["odd_loss"] == pytest.approx(one["odd_loss"], rel=1e-5)
    assert largest_difference(found, one, "odd_gradient") < 1e-3


def test_the_gradient_of_z_agrees_with_one_device(one, two):
    assert two["z_loss"] == pytest.approx(one["z_loss"], rel=1e-5)
    assert largest_difference(two, one, "z_gradient") < 1e-5


def test_micro_batches_on_every_device_give_the_whole_batchs_gradient(one, two):
    assert two["micro_loss"] == pytest.approx(one["micro_loss"], rel=1e-5)
    assert largest_difference(two, one, "micro_gradient") < 1e-3


def test_a_custom_loss_sees_the_pairs_of_all_devices(one, two):
    assert two["custom_loss"] == pytest.approx(one["custom_loss"], rel=1e-5)
    assert largest_difference(two, one, "custom_gradient") < 1e-3


def test_three_epochs_end_within_a_hundredth_of_one_device(one, two):
    np.testing.assert_allclose(two["run_loss"], one["run_loss"], rtol=0.01)
    np.testing.assert_allclose(two["run_val_loss"], one["run_val_loss"], rtol=0.01)


def test_features_are_monitored_as_on_one_device(one, two):
    np.testing.assert_allclose(two["run_effective_rank"], one["run_effective_rank"], rtol=0.01)


def test_evaluation_has_the_views_and_negatives_of_one_device(one, two):
    assert two["evaluated"][0] == pytest.approx(one["evaluated"][0], rel=0.01)


def test_the_short_last_batch_of_a_dataset_is_dropped(one, two):
    """One device is given the dataset without it."""
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
    np.testing.assert_allclose(two["run_loss"], one["run_loss"], rtol=1e-3)
    np.testing.assert_allclose(two["evaluated"], one["evaluated"], rtol=1e-3)


def test_an_array_with_fewer_images_than_a_batch_is_evaluated(one, two):
    np.testing.assert_allclose(two["few"], one["few"], rtol=1e-3)


def test_evaluation_in_micro_batches_finds_a_batch_size_that_they_divide(two):
    """Of 100 images a device has a multiple of 4."""
    assert np.isfinite(two["in_micro_batches"]).all()


def test_every_image_is_predicted(one, two):
    assert two["predicted"].shape == one["predicted"].shape
    np.testing.assert_allclose(two["predicted"], one["predicted"], atol=0.01)


def test_fine_tuning_agrees_with_one_device(one, two):
    for name in ("tuned_loss", "tuned_accuracy", "tuned_val_loss", "tuned_val_accuracy"):
        np.testing.assert_allclose(two[name], one[name], rtol=0.05, err_msg=name)


def test_a_gather_that_stops_the_gradient_would_be_detected(one, two):
    assert largest_difference({k[7:]: two[k] for k in two if k[:7] == "gather_"}, one, "grad") > 0.1


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="one program has the whole loss")
def test_a_wrong_divisor_of_the_loss_would_be_detected(one, two):
    assert (
        largest_difference({k[8:]: two[k] for k in two if k[:8] == "divisor_"}, one, "grad") > 0.1
    )


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="one program draws for all devices")
def test_replicas_that_draw_the_same_views_would_be_detected(one, two):
    assert largest_difference({k[6:]: two[k] for k in two if k[:6] == "draws_"}, one, "grad") > 0.1


REFUSED = {
    "batch": "multiple of the number of devices. Received: 7 images per batch, 2 devices",
    "micro-batch": "multiple of `micro_batch_size`. Received: 6 images per device",
    "labels": "There must be at least one image per device. Received: 1 images, 2 devices",
}


@pytest.mark.parametrize("what", REFUSED)
def test_unsupported_use_of_devices_is_refused(what, runs):
    assert REFUSED[what] in runs(2)[1][what]


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="processes are there before")
def test_a_model_created_before_the_devices_is_refused(runs):
    assert "must be created within `strategy.scope()`" in runs(2)[1]["created before"] or (
        "was created before the distribution" in runs(2)[1]["created before"]
    )


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="one process has all the data")
def test_processes_with_different_data_are_refused(runs):
    assert "Every process must be given the same data" in runs(2)[1]["data"]
