"""Atomic writes, by which a file is either complete or absent, and locks between processes."""

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

ABANDONED = 24 * 60 * 60  # seconds without a change


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file atomically: at any moment `path` is the old file or the complete new one.

    The context manager yields a path in the same folder, with the same suffixes and a name of its
    own in each process, to write to. On exit, that file is flushed to disk and renamed to `path`;
    on an error, it is removed. So are those that killed processes left a day ago or earlier.

    Args:
        path: Path of the file.

    Example:
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "result.txt"
    >>> with replacing(path) as unfinished:
    ...     written = unfinished.write_text("done")
    >>> path.read_text()
    'done'
    """
    path = Path(path)
    _remove_leftovers(path)
    unfinished = _unfinished(path)
    try:
        yield unfinished
        move_into_place(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing_all(path: str | os.PathLike) -> Iterator[Path]:
    """Write a folder, or a file with others beside it, which is then complete or absent.

    The context manager yields a path of the same name, in a temporary folder next to `path`. On
    exit, all that was written to that folder is flushed to disk and moved next to `path`, which
    comes last; on an error, it is removed.

    A folder that is replaced is called `set_aside(path)` for the moment between two renames; if
    the process is killed then, the next call puts it back first.

    Args:
        path: Path of the file or folder. An existing one is replaced.

    Raises:
        FileExistsError: If a file that would be beside a new one exists.

    Example:
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing_all(folder / "net.xml") as unfinished:
    ...     for suffix in (".xml", ".bin"):
    ...         written = unfinished.with_suffix(suffix).write_text("done")
    >>> sorted(file.name for file in folder.iterdir())
    ['net.bin', 'net.xml']
    """
    path = Path(path)
    _remove_leftovers(path)
    _put_back(path)
    folder = _unfinished(path)
    folder.mkdir()
    try:
        unfinished = folder / path.name
        yield unfinished
        (_replace_folder if unfinished.is_dir() else _replace_files)(unfinished, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def set_aside(path: str | os.PathLike) -> Path:
    """Return where `replacing_all` keeps the folder that it replaces, until it is replaced."""
    path = Path(path)
    return path.with_name(f"unfinished-old-{path.name}")


def _unfinished(path):
    return path.with_name(f"unfinished-{secrets.token_hex(4)}-{path.name}")


def _remove_leftovers(path):
    """Remove what killed processes left of writing `path`; a running one never waits so long."""
    ours = re.compile(rf"unfinished-[0-9a-f]{{8}}-{re.escape(path.name)}")
    with contextlib.suppress(OSError):  # of another user, or removed by another process
        for entry in path.parent.iterdir():
            if ours.fullmatch(entry.name) and time.time() - entry.stat().st_mtime > ABANDONED:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _put_back(path):
    old = set_aside(path)
    if not old.exists():
        return
    if path.exists():  # killed after both renames
        shutil.rmtree(old)
    else:
        os.replace(old, path)


def _replace_files(unfinished, path):
    others = [file for file in unfinished.parent.iterdir() if file != unfinished]
    taken = [file.name for file in others if path.with_name(file.name).exists()]
    if taken and not path.exists():
        raise FileExistsError(
            f"The files beside {path} must be new. Received: a folder with {taken}. Choose another "
            "name, or delete them."
        )
    if others:
        path.unlink(missing_ok=True)
    for file in others:
        move_into_place(file, path.with_name(file.name))
    move_into_place(unfinished, path)


def _replace_folder(unfinished, path):
    for file in unfinished.rglob("*"):
        if file.is_file():
            move_into_place(file, file)
    old = set_aside(path)
    if path.exists():
        os.replace(path, old)
    try:
        os.replace(unfinished, path)
    except OSError:
        if old.exists():
            os.replace(old, path)
        raise
    with contextlib.suppress(OSError):  # not every system can flush a folder
        _flush_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def move_into_place(unfinished: str | os.PathLike, path: str | os.PathLike) -> None:
    """Rename a complete file atomically, and flush it so that it survives a power failure.

    Args:
        unfinished: Path of the file, on the same file system as `path`.
        path: Its new path. An existing file is replaced.
    """
    with open(unfinished, "rb+") as file:  # Windows flushes only files that are open for writing
        os.fsync(file.fileno())
    os.replace(unfinished, path)
    with contextlib.suppress(OSError):  # not every system can flush a folder
        _flush_folder(Path(path).parent)


def _flush_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def acquire_lock(path: str | os.PathLike, timeout: float = -1) -> filelock.BaseFileLock | None:
    """Lock a file against other processes; the lock ends with this process at the latest.

    Args:
        path: Path of the file, which is created if it does not exist.
        timeout: Seconds to wait for another process. Defaults to -1: forever.

    Returns:
        The lock, for its method `release`, or None if the file system has no locks.

    Raises:
        TimeoutError: If another process holds the lock for longer.
    """
    lock = filelock.FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError:
        return None
    return lock


@contextlib.contextmanager
def locked(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of a file in a context, after waiting for other processes."""
    lock = acquire_lock(path)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
