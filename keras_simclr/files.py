"""Atomic writes, by which a file is either complete or absent, and locks between processes."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file atomically: at any moment `path` is the old file or the complete new one.

    The context manager yields a path in the same folder, with the same suffixes, to write to. On
    exit, that file is flushed to disk and renamed to `path`; on an error, it is removed.

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
    unfinished = path.with_name(f"unfinished-{path.name}")
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

    Args:
        path: Path of the file or folder. An existing one is replaced.

    Example:
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing_all(folder / "net.xml") as unfinished:
    ...     for suffix in (".xml", ".bin"):
    ...         written = unfinished.with_suffix(suffix).write_text("done")
    >>> sorted(file.name for file in folder.iterdir())
    ['net.bin', 'net.xml']
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        if unfinished.is_dir():
            _replace_folder(unfinished, path)
        else:
            _replace_files(unfinished, path)


def _replace_files(unfinished, path):
    others = [file for file in unfinished.parent.iterdir() if file != unfinished]
    if others:
        path.unlink(missing_ok=True)
    for file in others:
        move_into_place(file, path.with_name(file.name))
    move_into_place(unfinished, path)


def _replace_folder(unfinished, path):
    for file in unfinished.rglob("*"):
        if file.is_file():
            move_into_place(file, file)
    old = unfinished.with_name(f"old-{path.name}")
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
