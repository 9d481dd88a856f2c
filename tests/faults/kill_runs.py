"""Kill runs at random moments, resume them, and compare how they end.

    KERAS_BACKEND=torch python tests/faults/kill_runs.py [KILLS]

Each run is killed up to ten times. Every other kill is meant to fall while a backup is written.
"""

import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TRAIN = Path(__file__).parent / "train.py"
KILLS_PER_RUN = 10


def start(folder, result):
    """Start to train in another process."""
    return subprocess.Popen([sys.executable, str(TRAIN), str(folder), str(result)])


def newest(folder):
    """Return the number of steps in the newest backup, with those of complete epochs."""
    positions = [path.stem.split("-")[1::2] for path in folder.glob("epoch-*.backup")]
    return max((10 * int(epoch) + int(step) for epoch, step in positions), default=-1)


def kill_once(folder, result, rng, while_writing):
    """Start a run and kill it; return where the kill fell, or None if the run ended before."""
    begun, process = newest(folder), start(folder, result)
    steps = rng.randint(1, 5)
    while newest(folder) < begun + steps and process.poll() is None:
        time.sleep(0.001)
    if while_writing:
        while not list(folder.glob("unfinished-*")) and process.poll() is None:
            pass
    else:
        time.sleep(rng.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        return None
    return "while writing" if list(folder.glob("unfinished-*")) else "within an epoch"


def same(result, expected):
    """Return whether two runs ended with the same numbers, bit for bit."""
    found, wanted = np.load(result), np.load(expected)
    return found.files == wanted.files and all(
        np.array_equal(found[name], wanted[name]) for name in wanted.files
    )


def main(kills):
    """Print the number of kills by moment, and of runs that ended in the same way."""
    rng, moments, ends = random.Random(0), collections.Counter(), []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        start(root / "straight", root / "straight.npz").wait()
        while moments.total() < kills:
            run = root / str(len(ends))
            for number in range(min(KILLS_PER_RUN, kills - moments.total())):
                moment = kill_once(run, f"{run}.npz", rng, while_writing=number % 2)
                if moment is None:
                    break
                moments[moment] += 1
            start(run, f"{run}.npz").wait()
            ends.append(same(f"{run}.npz", root / "straight.npz"))
            print(dict(moments), f"{sum(ends)} of {len(ends)} runs end alike", flush=True)
    return 0 if all(ends) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
