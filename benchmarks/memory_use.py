"""Memory and time of a function, measured by the process that calls it. For Linux.

`peak` reads /proc: a process that another one starts inherits the latter's `ru_maxrss`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

MIB = 2**20


def forget_peak():
    """Let `peak` begin anew, at the memory that is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak():
    """Return the most bytes of RAM that the process has held since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def serve(function):
    """Call `function` at every line that comes in; answer with seconds, MiB and its result.

    The MiB are the peak of the call, above what the process held before the first one.
    """
    forget_peak()
    before = peak()
    for _ in sys.stdin:
        forget_peak()
        began = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - began
        print(json.dumps([seconds, (peak() - before) / MIB, result]), flush=True)


def started(script, *arguments, python=sys.executable, **environment):
    """Start a script that serves, on the CPU with two threads; `views.one_round` asks it."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    fixed = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2", "OMP_NUM_THREADS": "2"}
    return subprocess.Popen(
        [python, script, *map(str, arguments)],
        env={**os.environ, **fixed, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def stop(process):
    """End a process that serves."""
    process.stdin.close()
    process.wait()
