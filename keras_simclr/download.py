"""Downloads of large files, which are checked and unpacked completely or not at all."""

import errno
import gzip
import hashlib
import http.client
import lzma
import os
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import keras

from keras_simclr.files import move_into_place

MEGABYTE = 2**20
TIMEOUT = 60  # seconds without any data
DAMAGE = (  # errors of `tarfile`, some of them undocumented
    tarfile.TarError,
    EOFError,
    TypeError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full disk, quota, limit of file sizes
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)


def download_file(
    url: str,
    path: str | os.PathLike,
    checksum: str | None = None,
    size: int | None = None,
) -> Path:
    """Download a file and check it; an interrupted download is resumed.

    Until it is complete the file is called `path` + ".part", and is kept if the network fails. A
    file that exists at `path` is checked and not downloaded again, but resumed if it is shorter
    than `size`.

    Args:
        url: URL of the file.
        path: Where to save it.
        checksum: "md5:" or "sha256:" and the hexadecimal checksum of the file, or its first
            digits. Defaults to None: unknown.
        size: Size of the file in bytes. Defaults to None: unknown.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ConnectionError: If the network fails.
        ValueError: If the checksum or the size is wrong; the file is then removed.
        OSError: If there is no space for the file; what has been downloaded is then removed.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    if path.exists() and path.stat().st_size < (size or 0):
        os.replace(path, part)
    if path.exists():
        return _check_file(path, checksum, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _receive(url, part)
    except NETWORK_ERRORS as error:
        raise ConnectionError(
            f"Could not download {url} ({error}). Try again, which resumes the download, or put "
            f"the file at {path} yourself."
        ) from error
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno not in NO_SPACE:
            raise
        raise OSError(
            error.errno,
            f"There is no space for {path} ({error.strerror}). Free some, or choose a folder on "
            "another disk.",
        ) from error
    move_into_place(_check_file(part, checksum, size), path)
    return path


def file_checksum(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Return the checksum of a file in the form that `download_file` takes.

    Example:
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "empty")
    >>> path.touch()
    >>> file_checksum(path, "md5")
    'md5:d41d8cd98f00b204e9800998ecf8427e'
    """
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def unpack_files(
    archive: str | os.PathLike, folder: str | os.PathLike, names: Collection[str]
) -> None:
    """Unpack files of a tar archive into a folder, each completely or not at all.

    Paths in the archive are never written to: the files are copied under the given names.

    Args:
        archive: Path of the tar archive, compressed or not.
        folder: Folder for the files. In the archive they are in a folder of the same name.
        names: Names of the files. Other members of the archive are ignored.

    Raises:
        ValueError: If the archive is damaged, lacks a file or has a member that points outside.
    """
    folder = Path(folder)
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        _extract(archive, PurePosixPath(folder.name), names, unfinished)
        folder.mkdir(exist_ok=True)
        for name in names:
            move_into_place(unfinished / name, folder / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _receive(url, part):
    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            # A server that does not support ranges answers 200 and sends the whole file.
            _append(response, part, start if response.status == 206 else 0)
    except urllib.error.HTTPError as error:
        with error:
            if not start or error.code != 416:
                raise
        if error.headers.get("Content-Range") != f"bytes */{start}":  # not yet complete
            part.unlink()
            _receive(url, part)


def _append(response, part, start):
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    _check_space(part, (total or 0) - start)
    progress = keras.utils.Progbar(total and -(-total // MEGABYTE), unit_name="MB", interval=2)
    received = start
    with open(part, "ab" if start else "wb") as file:
        while data := response.read(MEGABYTE):
            received += file.write(data)
            progress.update(-(-received // MEGABYTE), finalize=received == total)
    if total and received < total:
        raise ConnectionError(f"cut off after {received} of {total} bytes")


def _check_space(part, needed):
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed and {free:,} are free")


def _check_file(path, checksum, size):
    received_size = path.stat().st_size
    if size is not None and received_size != size:
        _reject(path, f"{received_size} bytes", f"{size} bytes")
    if checksum is not None:
        received = file_checksum(path, checksum.partition(":")[0])
        if not received.startswith(checksum):
            _reject(path, received, checksum)
    return path


def _reject(path, received, expected):
    path.unlink()
    raise ValueError(
        f"{path} is damaged. Received: {received}, expected {expected}. It was removed: download "
        "it again."
    )


def _extract(archive, source, names, target):
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(
                        f"{archive} has a member that points outside its folder. Received: "
                        f"{member.name}. Delete the archive and download it from its official site."
                    )
                wanted = member.isreg() and path.parent == source and path.name in names
                content = tar.extractfile(member) if wanted else None
                if content is not None:
                    with open(target / path.name, "wb") as file:
                        shutil.copyfileobj(content, file, MEGABYTE)
    except DAMAGE as error:
        raise ValueError(
            f"{archive} is damaged. Received: {error}. Delete it and download it again."
        ) from error
    missing = sorted(set(names) - set(os.listdir(target)))
    if missing:
        raise ValueError(
            f"{archive} must have all files of the dataset. Received: an archive without "
            f"{missing}. Delete it and download it again."
        )
