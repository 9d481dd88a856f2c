import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.once

NARROW = "resnet10_0.125x"


@pytest.fixture
def command(tmp_path):
    """Return the command of a run on 16 images, and the folder of the run."""
    (tmp_path / "images").mkdir()
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3))):
        Image.fromarray(pixels.astype("uint8")).save(tmp_path / "images" / f"{index}.png")
    options = ["--out", tmp_path / "run", "--epochs", "20", "--backbone", NARROW]
    arguments = ["pretrain", tmp_path / "images", *options, "--batch-size", "8"]
    return [sys.executable, "-m", "keras_simclr", *map(str, arguments)], tmp_path / "run"


def test_the_same_command_resumes_a_process_after_ctrl_c(command):
    command, run = command
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch 2 of 20"):
                os.kill(process.pid, signal.SIGINT)
                break
        said = process.stderr.read()
    assert process.returncode == 130 and "to resume, start the" in said, said
    assert "Traceback" not in said and not (run / "model.keras").exists()
    resumed = subprocess.run(command, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 20 of 20" in resumed.stderr and "epoch 2 of 20" not in resumed.stderr
    assert len((run / "history.csv").read_text().splitlines()) == 21
