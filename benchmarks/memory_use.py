"""Memory and time of a function, measured by the process that calls it, on Linux.

`peak` reads /proc, since a process inherits `ru_maxrss` from the one that starts it.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

MIB = 2**20


def reset_peak():
    """Reset `peak` to the memory that is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak():
    """Return the largest number of bytes of RAM held since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def serve(function):
    """Call `function` for every line of the input, and print seconds, MiB and its result.

    The MiB are the peak of the call above what the process held before the first one.
    """
    reset_peak()
    before = peak()
    for _ in sys.stdin:
        reset_peak()
        began = time.perf_counter()
        result = function()
        seconds = time.perf_counter() - began
        print(json.dumps([seconds, (peak() - before) / MIB, result]), flush=True)


def started(script, *arguments, python=sys.executable, **environment):
    """Start a script that serves, on the CPU with two threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    fixed = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    fixed |= {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"}
    return subprocess.Popen(
        [python, script, *map(str, arguments)],
        env={**os.environ, **fixed, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def one_round(process):
    """Let a process that serves do its work once, and return what it prints."""
    if process.poll() is None:
        process.stdin.write("\n")
        process.stdin.flush()
    for line in process.stdout:
        if line.startswith("["):
            return json.loads(line)
    raise ChildProcessError(f"{process.args} ended with exit code {process.wait()}.")


def stop(process):
    """End a process that serves."""
    process.stdin.close()
    process.stdout.close()
    process.wait()
