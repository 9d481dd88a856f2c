"""Large files from the web: fetched once, checked, unpacked whole or not at all."""

import hashlib
import http.client
import os
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

import keras

MEGABYTE = 2**20
TIMEOUT = 60  # seconds without a byte
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)


def download_file(url, path, md5):
    """Fetch a file once and check it; what was cut off goes on where it stopped.

    While it is on its way the file is called `path` + ".part", and it stays if the network fails.
    A file that is already at `path` is checked and not fetched again.

    Args:
        url: Address of the file.
        path: Where to put it.
        md5: Its md5 sum, in hexadecimal.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ConnectionError: If the network fails.
        ValueError: If the md5 sum is another one; the file is then removed.
    """
    path = Path(path)
    if path.exists():
        return _checked(path, md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        _receive(url, part)
    except NETWORK_ERRORS as error:
        raise ConnectionError(
            f"Could not download {url} ({error}): try again, which goes on where it stopped, or "
            f"put the file at {path} by hand."
        ) from error
    os.replace(_checked(part, md5), path)
    return path


def unpack_files(archive, folder, names):
    """Unpack files of a tar archive into a folder of the same name, each whole or not at all.

    No path of the archive is ever written to: the files are copied under the given names.

    Args:
        archive: The tar archive, compressed or not.
        folder: Where to put the files; in the archive they lie in a folder of the same name.
        names: Names of the files. Other members are left out.

    Raises:
        ValueError: If the archive is damaged, lacks a file or has a member that points outside.
    """
    folder = Path(folder)
    beside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _extract(archive, PurePosixPath(folder.name), names, beside)
        folder.mkdir(exist_ok=True)
        for name in names:
            os.replace(beside / name, folder / name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _receive(url, part):
    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            # A server that knows no ranges answers 200 and begins anew.
            _append(response, part, start if response.status == 206 else 0)
    except urllib.error.HTTPError as error:
        with error:
            if not start or error.code != 416:
                raise
        if error.headers.get("Content-Range") != f"bytes */{start}":  # else all was there
            part.unlink()
            _receive(url, part)


def _append(response, part, start):
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    progress = keras.utils.Progbar(total and -(-total // MEGABYTE), unit_name="MB", interval=2)
    received = start
    with open(part, "ab" if start else "wb") as file:
        while block := response.read(MEGABYTE):
            received += file.write(block)
            progress.update(-(-received // MEGABYTE), finalize=received == total)
    if total and received < total:
        raise ConnectionError(f"cut off after {received} of {total} bytes")


def _checked(path, md5):
    with open(path, "rb") as file:
        received = hashlib.file_digest(file, "md5").hexdigest()
    if received != md5:
        path.unlink()
        raise ValueError(
            f"{path} is damaged. Received: md5 {received}, expected {md5}. It was removed; "
            "download it again."
        )
    return path


def _extract(archive, inside, names, target):
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(
                        f"{archive} has a member that points outside of its folder. Received: "
                        f"{member.name}. Delete the archive and get it from its public home."
                    )
                if member.isreg() and path.parent == inside and path.name in names:
                    with open(target / path.name, "wb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file, MEGABYTE)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{archive} is damaged: {error}. Delete it and download it again."
        ) from error
    missing = sorted(set(names) - set(os.listdir(target)))
    if missing:
        raise ValueError(f"{archive} lacks {missing}. Delete it and download it again.")
