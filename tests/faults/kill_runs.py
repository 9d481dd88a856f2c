"""Kill runs at random moments, resume them, and compare how they end.

    KERAS_BACKEND=torch python tests/faults/kill_runs.py [KILLS]

Each run is killed up to ten times. About half of the kills fall while a backup is written.
"""

import collections
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = str(Path(__file__).parent)
KILLS_PER_RUN = 10
# The processes are forks of one that has imported everything, which takes longer than a run.
PROCESSES = multiprocessing.get_context("forkserver")


def start(folder, result):
    """Start to train in another process."""
    process = PROCESSES.Process(target=train, args=(str(folder), str(result)))
    process.start()
    return process


def train(folder, result):
    """Train from the last backup on."""
    sys.path.insert(0, HERE)
    import train

    train.main(folder, result)


def newest(folder):
    """Return the number of steps in the newest backup, with those of complete epochs."""
    positions = [path.stem.split("-")[1::2] for path in folder.glob("epoch-*.backup")]
    return max((10 * int(epoch) + int(step) for epoch, step in positions), default=-1)


def kill_once(folder, result, rng, while_writing):
    """Start a run and kill it; return where the kill fell, or None if the run ended before."""
    begun, process = newest(folder), start(folder, result)
    steps = rng.randint(1, 5)
    while newest(folder) < begun + steps and process.exitcode is None:
        time.sleep(0.001)
    if while_writing:
        while not list(folder.glob("unfinished-*")) and process.exitcode is None:
            pass
    else:
        time.sleep(rng.uniform(0, 0.1))
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        return None
    return "while writing" if list(folder.glob("unfinished-*")) else "within an epoch"


def same(result, expected):
    """Return whether two runs ended with the same numbers, bit for bit."""
    found, wanted = np.load(result), np.load(expected)
    return found.files == wanted.files and all(
        np.array_equal(found[name], wanted[name]) for name in wanted.files
    )


def prepare(root):
    """Set what all processes have in common: what they import, and what JAX has compiled."""
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(root / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    # Keras imports TensorFlow on every backend, if it is installed.
    PROCESSES.set_forkserver_preload(["tensorflow", "train"])


def main(kills):
    """Print the number of kills by moment, and of runs that ended in the same way."""
    rng, moments, ends = random.Random(0), collections.Counter(), []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        prepare(root)
        start(root / "straight", root / "straight.npz").join()
        while moments.total() < kills:
            run = root / str(len(ends))
            for _ in range(min(KILLS_PER_RUN, kills - moments.total())):
                rarer = moments["while writing"] < moments["within an epoch"]
                moment = kill_once(run, f"{run}.npz", rng, while_writing=rarer)
                if moment is None:
                    break
                moments[moment] += 1
            start(run, f"{run}.npz").join()
            ends.append(same(f"{run}.npz", root / "straight.npz"))
            print(dict(moments), f"{sum(ends)} of {len(ends)} runs end alike", flush=True)
    return 0 if all(ends) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
