"""Folders of public buckets of Google Cloud Storage, through its JSON API."""

import base64
import binascii
import dataclasses
import json
import os
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath, PureWindowsPath

from keras_simclr.download import NETWORK_ERRORS, TIMEOUT, download_file

STORAGE_URL = "https://storage.googleapis.com"


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file in a bucket: its path in the folder, URL, size in bytes and checksum."""

    path: str
    url: str
    size: int
    checksum: str | None


def download_files(files: list[RemoteFile], folder: str | os.PathLike) -> None:
    """Download files of a bucket; existing files are checked, and completed if they were cut off.

    Args:
        files: Files, as `list_folder` returns them.
        folder: Folder for the files.

    Raises:
        ConnectionError: If the network fails.
        ValueError: If a file has a path outside the folder, or a wrong checksum or size.
        OSError: If there is no space for a file.
    """
    targets = [inside(Path(folder), file.path) for file in files]  # before anything is written
    for file, target in zip(files, targets, strict=True):
        download_file(file.url, target, file.checksum, file.size)


def list_folder(url: str, recursive: bool = True) -> list[RemoteFile]:
    """Return the files of a folder of a bucket.

    Args:
        url: "gs://bucket/folder/". The environment variable `STORAGE_EMULATOR_HOST` replaces
            "https://storage.googleapis.com" by the URL of a mirror.
        recursive: Whether to list subfolders. Defaults to True.

    Raises:
        ConnectionError: If the network fails or the folder does not exist.
    """
    bucket, _, prefix = url.removeprefix("gs://").partition("/")
    prefix = f"{prefix.rstrip('/')}/"
    query = {"prefix": prefix, "fields": "items(name,size,md5Hash),nextPageToken"}
    if not recursive:
        query["delimiter"] = "/"
    files = [
        _remote_file(bucket, item, prefix)
        for item in _items(bucket, query)
        if not item["name"].endswith("/")  # stands for a folder
    ]
    if not files:
        raise ConnectionError(f"There are no files in {url}.")
    return files


def _storage_url():
    url = os.environ.get("STORAGE_EMULATOR_HOST", STORAGE_URL).rstrip("/")
    return url if "://" in url else f"http://{url}"


def _items(bucket, query):
    token = ""
    while token is not None:
        encoded = urllib.parse.urlencode({**query, "pageToken": token} if token else query)
        page = _read_json(f"{_storage_url()}/storage/v1/b/{bucket}/o?{encoded}")
        yield from page.get("items", ())
        token = page.get("nextPageToken")


def _read_json(url):
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return json.load(response)
    except (*NETWORK_ERRORS, ValueError) as error:
        raise ConnectionError(f"Could not list {url} ({error}).") from error


def _remote_file(bucket, item, prefix):
    name = item["name"]
    url = f"{_storage_url()}/{bucket}/{urllib.parse.quote(name)}"
    checksum = _hexadecimal_md5(item["md5Hash"]) if "md5Hash" in item else None
    return RemoteFile(name.removeprefix(prefix), url, int(item["size"]), checksum)


def _hexadecimal_md5(encoded):
    return f"md5:{binascii.hexlify(base64.b64decode(encoded)).decode()}"


def inside(folder: Path, path: str) -> Path:
    """Return the path of a downloaded file, which must be inside its folder.

    Args:
        folder: The folder.
        path: Path of the file relative to it, as the source of the download names it.

    Raises:
        ValueError: If the path leads outside.

    Example:
    >>> inside(Path("cache"), "variables/variables.index").as_posix()
    'cache/variables/variables.index'
    """
    parts = PurePosixPath(path).parts
    leaves = ".." in parts or PurePosixPath(path).is_absolute() or len(parts) == 0
    if leaves or PureWindowsPath(path).anchor or "\\" in path:
        raise ValueError(
            f"A downloaded file must be inside its folder. Received: {path!r}, which would be "
            f"outside {folder}. Nothing was downloaded. Do not trust its source."
        )
    return folder.joinpath(*parts)
