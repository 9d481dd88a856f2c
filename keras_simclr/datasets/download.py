"""Downloads of large files, which are checked and unpacked completely or not at all."""

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
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)


def download_file(url: str, path: str | os.PathLike, md5: str) -> Path:
    """Download a file and check it; an interrupted download is resumed.

    Until it is complete the file is called `path` + ".part", and is kept if the network fails. A
    file that exists at `path` is checked and not downloaded again.

    Args:
        url: URL of the file.
        path: Where to save it.
        md5: MD5 checksum of the file, in hexadecimal.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ConnectionError: If the network fails.
        ValueError: If the checksum is wrong; the file is then removed.
    """
    path = Path(path)
    if path.exists():
        return _check_md5(path, md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _receive(url, part)
    except NETWORK_ERRORS as error:
        raise ConnectionError(
            f"Could not download {url} ({error}). Try again, which resumes the download, or put "
            f"the file at {path} yourself."
        ) from error
    move_into_place(_check_md5(part, md5), path)
    return path


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
    progress = keras.utils.Progbar(total and -(-total // MEGABYTE), unit_name="MB", interval=2)
    received = start
    with open(part, "ab" if start else "wb") as file:
        while data := response.read(MEGABYTE):
            received += file.write(data)
            progress.update(-(-received // MEGABYTE), finalize=received == total)
    if total and received < total:
        raise ConnectionError(f"cut off after {received} of {total} bytes")


def _check_md5(path, md5):
    with open(path, "rb") as file:
        received = hashlib.file_digest(file, "md5").hexdigest()
    if received != md5:
        path.unlink()
        raise ValueError(
            f"{path} is damaged. Received: md5 {received}, expected {md5}. It was removed: "
            "download it again."
        )
    return path


def _extract(archive, source, names, target):
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(
                        f"{archive} has a member that points outside of its folder. Received: "
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
