import ctypes
import json
import os
import resource
import subprocess
import sys

import pytest

from keras_simclr.ops import host_memory
from keras_simclr.ops.forms import form
from keras_simclr.ops.host_memory import freed_memory_kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's settings")

SIZE = 40_000_000  # bytes, above the usual threshold
USUAL = SIZE // resource.getpagesize()  # without huge pages


def resident():
    """Return the number of pages of RAM that this process holds."""
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1])


def pages_of_a_step():
    """Return how many pages the system hands out for memory that is written to and freed."""
    library = ctypes.CDLL(None)  # NumPy would ask for huge pages
    library.malloc.restype = ctypes.c_void_p
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory = ctypes.c_void_p(library.malloc(ctypes.c_size_t(SIZE)))
    ctypes.memset(memory, 1, SIZE)
    library.free(memory)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def pages_of_the_second_step():
    pages_of_a_step()
    return pages_of_a_step()


def measure():
    """Yield what each test looks at, by name."""
    yield "before", pages_of_the_second_step()
    with freed_memory_kept():
        yield "within", pages_of_the_second_step()
        held = resident()
    yield "returned", held - resident()
    yield "after", pages_of_the_second_step()
    with freed_memory_kept():
        with freed_memory_kept():
            pages_of_a_step()
        yield "after the inner context", pages_of_a_step()
    try:
        with freed_memory_kept():
            raise KeyError
    except KeyError:
        yield "after an error", pages_of_the_second_step()
    for name in host_memory.OF_THE_USER:
        os.environ[name] = "100000"
        with freed_memory_kept():
            yield name, pages_of_the_second_step()
        del os.environ[name]
    with form("gpu"), freed_memory_kept():
        yield "on a GPU", pages_of_the_second_step()


@pytest.fixture(scope="module")
def pages():
    """Measure in a new process: in others, large pieces of freed memory lie between used ones."""
    environment = {k: v for k, v in os.environ.items() if k not in host_memory.OF_THE_USER}
    result = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("when", ["within", "after the inner context"])
def test_freed_memory_is_used_again(when, pages):
    assert pages[when] < USUAL / 10


def test_it_is_returned_in_the_end(pages):
    assert pages["returned"] > USUAL / 2


@pytest.mark.parametrize(
    "when", ["before", "after", "after an error", *host_memory.OF_THE_USER, "on a GPU"]
)
def test_otherwise_it_is_returned_at_once(when, pages):
    assert pages[when] > USUAL / 2


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
def test_models_keep_it(name, make_model, labeled_images, monkeypatch):
    depths = []
    model, images = make_model(), labeled_images[0]
    model.build((None, *images.shape[1:]))
    step = {"fit": "train_step", "evaluate": "test_step", "predict": "predict_step"}[name]
    original = getattr(model, step)

    def noted(*args):
        depths.append(host_memory._depth)
        return original(*args)

    monkeypatch.setattr(model, step, noted)
    getattr(model, name)(images, verbose=0)
    assert set(depths) == {1} and host_memory._depth == 0


if __name__ == "__main__":
    print(json.dumps(dict(measure())))
