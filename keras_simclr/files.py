"""Atomic writes, by which a file is either complete or absent, and locks between processes."""

import contextlib
import os
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
