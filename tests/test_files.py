import os
import signal
import subprocess
import sys
import time

import filelock
import keras
import pytest

from keras_simclr.files import (
    acquire_lock,
    locked,
    move_into_place,
    replacing,
    replacing_all,
    set_aside,
)

pytestmark = pytest.mark.once


@pytest.fixture
def path(tmp_path):
    (tmp_path / "result.txt").write_text("old")
    return tmp_path / "result.txt"


def test_a_new_file_replaces_the_old_one(path):
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["result.txt"]


def test_the_old_file_stays_until_the_new_one_is_complete(path):
    with replacing(path) as unfinished:
        unfinished.write_text("half")
        assert path.read_text() == "old"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_all_there_is(error, path):
    with pytest.raises(error), replacing(path) as unfinished:
        unfinished.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["result.txt"]


def test_an_error_before_anything_is_written_is_reported(path):
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    assert path.read_text() == "old"


WRITER = """
import sys
from keras_simclr.files import replacing

with replacing(sys.argv[1]) as unfinished, open(unfinished, "w") as file:
    for half in sys.argv[2:]:
        print(file.write(half), file=sys.stdout, flush=True)
        file.flush()
        sys.stdin.readline()
"""


def start_writer(path, *halves):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), *halves], **pipes)


def test_two_processes_that_write_one_path_do_not_mix(path):
    with start_writer(path, "one ", "one") as one, start_writer(path, "another, ", "longer") as two:
        for process in (one, two):
            process.stdout.readline()  # half is written
        two.communicate("\n\n", timeout=60)
        assert path.read_text() == "another, longer"
        one.communicate("\n\n", timeout=60)
    assert (one.returncode, two.returncode) == (0, 0)
    assert path.read_text() == "one one"
    assert os.listdir(path.parent) == ["result.txt"]


@pytest.mark.parametrize(("days", "left"), [(2, 0), (0.5, 1)])
def test_what_a_killed_process_left_is_removed_a_day_later(path, days, left):
    with start_writer(path, "half", "never") as process:
        process.stdout.readline()
        process.kill()
    (leftover,) = path.parent.glob("unfinished-*")
    then = time.time() - days * 24 * 60 * 60
    os.utime(leftover, (then, then))
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert len(list(path.parent.glob("unfinished-*"))) == left


@pytest.mark.parametrize("name", ["unfinished-result.txt", "unfinished-0123abcd-other.txt"])
def test_files_of_others_with_similar_names_are_kept(path, name):
    path.with_name(name).write_text("mine")
    os.utime(path.with_name(name), (0, 0))
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert path.with_name(name).read_text() == "mine"


def test_paths_may_be_strings(path):
    with replacing(str(path)) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_the_unfinished_file_has_the_suffixes_that_keras_requires(name, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with replacing(tmp_path / name) as unfinished:
        (model.save if name.endswith(".keras") else model.save_weights)(unfinished)
    assert os.listdir(tmp_path) == [name]


def write_with_companion(folder, text):
    with replacing_all(folder / "net.xml") as unfinished:
        unfinished.write_text(text)
        unfinished.with_suffix(".bin").write_text(text)


def test_a_file_and_its_companion_are_replaced_together(tmp_path):
    for text in ("old", "new"):
        write_with_companion(tmp_path, text)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "net.xml": "new",
        "net.bin": "new",
    }


def test_a_file_is_absent_while_its_companion_is_replaced(tmp_path, monkeypatch):
    write_with_companion(tmp_path, "old")
    seen = []
    replace = os.replace

    def watched(source, target):
        seen.append((os.path.basename(target), (tmp_path / "net.xml").exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write_with_companion(tmp_path, "new")
    assert seen == [("net.bin", False), ("net.xml", False)]


def test_a_file_of_others_is_not_replaced_by_a_companion(tmp_path):
    (tmp_path / "net.bin").write_text("mine")
    with pytest.raises(FileExistsError, match=r"must be new. Received: .*\['net.bin'\]"):
        write_with_companion(tmp_path, "new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"net.bin": "mine"}


def write_folder(folder, name):
    with replacing_all(folder / "saved") as unfinished:
        unfinished.mkdir()
        (unfinished / name).write_text(name)


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for name in ("old", "new"):
        write_folder(tmp_path, name)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["saved", "saved/new"]


def test_after_an_error_the_old_folder_is_all_there_is(tmp_path):
    write_folder(tmp_path, "old")
    with pytest.raises(KeyError), replacing_all(tmp_path / "saved") as unfinished:
        unfinished.mkdir()
        raise KeyError
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["saved", "saved/old"]


KILLED = """
import os, signal, sys
from pathlib import Path
from keras_simclr import files

folder, number = Path(sys.argv[1]), int(sys.argv[2])
replace, renamed = os.replace, []

def killing(source, target):
    replace(source, target)
    renamed.append(target)
    if folder.name in Path(target).name and len([t for t in renamed if Path(t).parent ==
            folder.parent]) == number:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = killing
with files.replacing_all(folder) as unfinished:
    unfinished.mkdir()
    (unfinished / "new").write_text("new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize(("renames", "survivor"), [(1, "old"), (2, "new")])
def test_a_process_killed_between_two_renames_loses_no_folder(tmp_path, renames, survivor):
    folder = tmp_path / "saved"
    write_folder(tmp_path, "old")
    code = [sys.executable, "-c", KILLED, str(folder), str(renames)]
    assert subprocess.run(code, timeout=60).returncode == -signal.SIGKILL
    assert folder.exists() == (survivor == "new")
    assert (set_aside(folder) / "old").read_text() == "old"
    with pytest.raises(KeyError), replacing_all(folder):
        raise KeyError
    assert os.listdir(folder) == [survivor]
    assert not set_aside(folder).exists()


def test_a_file_is_moved_in_place_of_another(path):
    unfinished = path.with_name("unfinished")
    unfinished.write_text("new")
    move_into_place(unfinished, path)
    assert path.read_text() == "new"
    assert not unfinished.exists()


def test_the_data_is_flushed_before_the_name(path, monkeypatch):
    steps = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append("flush"))
    monkeypatch.setattr(os, "replace", lambda *paths: steps.append("rename") or replace(*paths))
    unfinished = path.with_name("unfinished")
    unfinished.write_text("new")
    move_into_place(unfinished, path)
    assert steps == ["flush", "rename", "flush"]


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be opened")
def test_a_folder_that_cannot_be_flushed_is_no_error(path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if os.path.isdir(f"/dev/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with replacing(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"


def test_data_that_cannot_be_flushed_is_an_error(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), replacing(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "old"


def test_a_lock_that_is_held_raises_after_its_timeout(tmp_path):
    with locked(tmp_path / "lock"):
        waiting = filelock.FileLock(tmp_path / "lock")
        with pytest.raises(TimeoutError):
            waiting.acquire(timeout=0)
    waiting.acquire(timeout=0)
    waiting.release()


def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
    def refuse(self, **options):
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert acquire_lock(tmp_path / "lock") is None
