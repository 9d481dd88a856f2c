"""The folder of a run's backups, which one process locks and which keeps the last two."""

import contextlib
import re
import warnings
from pathlib import Path

from keras_simclr.callbacks.backup_file import (
    DamagedFileError,
    read_backup,
    read_record,
    write_backup,
)
from keras_simclr.files import acquire_lock

COMPLETE = re.compile(r"epoch-(\d+)-step-(\d+)\.backup")
LOCK = "backup.lock"


class BackupFolder:
    """The backups in a folder, by position: (complete epochs, steps of the epoch after them).

    Args:
        path: Path of the folder. Other files in it are left alone.

    Attributes:
        last: Path of the backup that was last read or written, or None.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.last = None
        self._lock = None

    def positions(self):
        """Return the positions of the complete backups, the newest first."""
        names = [path.name for path in self.path.glob("*.backup")] if self.path.is_dir() else []
        matches = [match for match in map(COMPLETE.fullmatch, names) if match]
        return sorted(((int(match[1]), int(match[2])) for match in matches), reverse=True)

    def path_of(self, position):
        """Return the path of the backup at a position."""
        epoch, step = position
        return self.path / f"epoch-{epoch}-step-{step}.backup"

    def acquire(self):
        """Create and lock the folder, and remove what an interrupted run has left unfinished.

        Raises:
            RuntimeError: If another process has locked it.
            OSError: If it cannot be created or written to.
        """
        self.last = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = acquire_lock(self.path / LOCK, timeout=0)
            for path in self.path.glob("unfinished-*.backup"):
                path.unlink()
        except TimeoutError:
            raise RuntimeError(
                f"A folder of backups belongs to one run. Received: `{self.path}`, which another "
                "process is using. Choose another folder, or stop the other process."
            ) from None
        except OSError as error:
            raise self._unusable(error) from error

    def release(self):
        """Unlock the folder, and remove it if it has become empty."""
        if self._lock is None:
            return
        self._lock.release(force=True)
        self._lock = None
        if not self.positions():
            (self.path / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other files are in it
                self.path.rmdir()

    def read_newest(self):
        """Return arrays and record of the newest backup that can be read.

        Raises:
            ValueError: If none can be read.
        """
        for position in self.positions():
            try:
                found = read_backup(self.path_of(position))
            except DamagedFileError as error:
                warnings.warn(f"{error} An older backup is used, if there is one.", stacklevel=2)
            else:
                self.last = self.path_of(position)
                return found
        raise ValueError(
            f"No backup in `{self.path}` can be read. Received: {len(self.positions())} damaged "
            "files. Delete them to start over."
        )

    def newest_record(self):
        """Return the record of the newest backup that can be read, or None."""
        for position in self.positions():
            with contextlib.suppress(DamagedFileError):
                return read_record(self.path_of(position))
        return None

    def write(self, position, arrays, record):
        """Write a backup, then remove all but this one and the last one.

        If it cannot be written, there is a warning, as training can continue.

        Raises:
            OSError: If the first backup of a run cannot be written.
        """
        path = self.path_of(position)
        try:
            write_backup(path, arrays, record)
        except OSError as error:
            if self.last is None:
                raise self._unusable(error) from error
            warnings.warn(
                f"The backup {path} could not be written: {error}. Training continues; the last "
                f"backup is {self.last}.",
                stacklevel=2,
            )
            return
        for old in map(self.path_of, self.positions()):
            if old not in (path, self.last):
                with contextlib.suppress(OSError):  # another program may have it open
                    old.unlink()
        self.last = path

    def delete(self):
        """Delete all backups, the oldest first."""
        for position in reversed(self.positions()):
            self.path_of(position).unlink()

    def _unusable(self, error):
        return OSError(
            error.errno,
            f"Backups cannot be written to `{self.path}`. Received: {error}. Choose a folder that "
            "can be written to, on a disk with enough space.",
        )
