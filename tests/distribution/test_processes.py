"""A run in two processes beside the same run in one."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

PROGRAM = Path(__file__).parent / "processes.py"
BACKEND = keras.backend.backend()
ENVIRONMENT = {
    "KERAS_BACKEND": BACKEND,
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
}
LIMIT = 240  # seconds


def free_ports(count):
    """Return the numbers of free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ",".join(ports)


def launched(folder, count, job):
    """Run a job of the program in several processes, and return the results of each."""
    given = [free_ports(count), job]
    processes = []
    try:
        for number in range(count):
            with open(folder / f"{number}.txt", "w") as said:
                command = [sys.executable, PROGRAM, folder, str(count), str(number), *given]
                processes.append(
                    subprocess.Popen(
                        command, env={**os.environ, **ENVIRONMENT}, stdout=said, stderr=said
                    )
                )
        wait_for_all(processes, folder)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [dict(np.load(folder / f"{count}-{job}-{number}.npz")) for number in range(count)]


def wait_for_all(processes, folder):
    """Wait until all have ended well; fail as soon as one has not, for which others may wait."""
    end = time.monotonic() + LIMIT
    codes = [None]
    while None in codes and not any(codes) and time.monotonic() < end:
        time.sleep(0.05)
        codes = [process.poll() for process in processes]
    said = [(folder / f"{number}.txt").read_text()[-3000:] for number in range(len(processes))]
    assert codes == [0] * len(processes), "\n".join(said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def one(folder):
    return launched(folder, 1, "whole")[0]


@pytest.fixture(scope="module")
def two(folder):
    return launched(folder, 2, "whole")


@pytest.fixture(scope="module")
def resumed(folder, two):
    return launched(folder, 2, "resumed")


def check_alike(found, expected, kind, rtol, atol=0.0):
    names = [name for name in expected if name.startswith(kind)]
    assert names
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol, atol, err_msg=name)


def test_three_epochs_agree_with_one_process(one, two):
    check_alike(two[0], one, "run", rtol=1e-4)


def test_weights_and_moving_statistics_agree_with_one_process(one, two):
    check_alike(two[0], one, "weight", rtol=1e-3, atol=1e-4)


def test_evaluation_agrees_with_one_process(one, two):
    check_alike(two[0], one, "evaluated", rtol=1e-4)


def test_every_process_predicts_all_rows(one, two):
    for found in two:
        check_alike(found, one, "predicted", rtol=1e-3, atol=1e-4)


def test_fine_tuning_agrees_with_one_process(one, two):
    check_alike(two[0], one, "tuned", rtol=1e-3)
    check_alike(two[0], one, "classifier", rtol=1e-3, atol=1e-3)


def test_processes_end_with_the_same_results(two):
    for name in two[0]:
        np.testing.assert_array_equal(two[0][name], two[1][name], err_msg=name)


def test_a_drawn_seed_is_the_same_in_all_processes(one, two):
    assert one["seed"] != two[0]["seed"] == two[1]["seed"]


def test_processes_with_different_data_are_refused(two):
    for found in two:
        assert "Every process must be given the same data" in str(found["refusal"])


def test_a_run_resumed_from_a_backup_ends_like_an_uninterrupted_one(two, resumed):
    for found in resumed:
        assert found["epochs"].tolist() == [0, 1, 2]
        check_alike(found, two[0], "weight", rtol=0)


def test_one_process_writes_the_backup(folder, resumed):
    names = sorted(path.name for path in (folder / "2-copy").glob("*.backup"))
    assert names == ["epoch-2-step-0.backup", "epoch-3-step-0.backup"]


def test_the_backup_of_a_finished_run_is_deleted(folder, two):
    assert not (folder / "2-backup").exists()


@pytest.mark.parametrize("name", ["run-{}.csv", "tuned-{}.csv", "run-{}.weights.h5"])
def test_files_are_written_by_one_process(name, folder, two):
    assert (folder / f"2-{name.format(0)}").exists()
    assert not (folder / f"2-{name.format(1)}").exists()
