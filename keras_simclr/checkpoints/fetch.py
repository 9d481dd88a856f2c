"""Downloads of published models into a cache folder."""

import json
import os
import re
import urllib.parse
from pathlib import Path, PurePosixPath

from keras_simclr.checkpoints.archive import unpack_zip
from keras_simclr.checkpoints.bucket import download_files, inside, list_folder
from keras_simclr.checkpoints.published_model import PublishedModel
from keras_simclr.download import download_file, file_checksum
from keras_simclr.files import locked, replacing

RECORD = "download.json"
# Files of weights, the best first.
WEIGHT_FILES = [f"*.{suffix}" for suffix in "safetensors pth pt ckpt tar bin keras".split()]
WHOLE_FOLDERS = ("model.weights.h5", "saved_model.pb", "checkpoint")
HUB_EXTRA = (
    'Downloads from Hugging Face need `huggingface_hub`: pip install "keras-simclr[checkpoints]".'
)


def cache_folder() -> Path:
    """Return `$KERAS_SIMCLR_HOME`, by default `keras_simclr` in `$KERAS_HOME` or `~/.keras`."""
    keras_home = os.environ.get("KERAS_HOME", "~/.keras")
    default = os.path.join(keras_home, "keras_simclr")
    return Path(os.environ.get("KERAS_SIMCLR_HOME", default)).expanduser()


def fetch(model: PublishedModel) -> Path:
    """Return the path of a published model, which is downloaded if it is not in the cache.

    The folder of the model in the cache is `presets/NAME`. It is complete once it has a file
    `download.json`, written last: of several processes one downloads while the others wait, and an
    interrupted download is resumed. Files that were put there by hand are compared with the bucket
    or the published checksum, and completed; without a network they are used as they are.

    Args:
        model: A `PublishedModel`.

    Returns:
        The path of its file, or of its folder if it is a folder of a bucket or a zip archive.

    Raises:
        ConnectionError: If the network fails.
        ValueError: If a checksum or a size is wrong, a path leads out of the cache, or an archive
            contains no checkpoint.
        OSError: If there is no space for a file.
    """
    if model.url.startswith("hf://"):
        return fetch_from_hub(model.url)
    folder = inside(cache_folder() / "presets", model.name)
    is_folder = model.url.startswith("gs://")
    path = folder if is_folder else inside(folder, _file_name(model.url))
    if not (folder / RECORD).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f"{model.name}.lock")):
            if not (folder / RECORD).exists():  # as another process had the lock
                _complete(model, folder, path)
    _check_sizes(folder)
    found = _checkpoint_folder(folder) if path.suffix == ".zip" else path
    if found is None:
        raise ValueError(
            "A zip archive must contain a checkpoint of TensorFlow, with a file that ends in "
            f".index. Received: {model.url}, unpacked in {folder}. Delete that folder, or put a "
            "checkpoint into it."
        )
    return found


def _file_name(url):
    return urllib.parse.unquote(PurePosixPath(urllib.parse.urlsplit(url).path).name)


def _complete(model, folder, path):
    """Download what is missing, and record what is there if it is known to be complete."""
    if path == folder:
        is_known = _complete_folder(model, folder)
    elif path.suffix == ".zip" and _checkpoint_folder(folder):
        is_known = False
    else:
        is_known = not path.exists() or model.checksum is not None
        if not path.exists():
            print(f"Downloading {model.url} to {path}.")
        download_file(model.url, path, model.checksum)
        if path.suffix == ".zip":
            unpack_zip(path, folder / path.stem)
            path.unlink()
    if is_known:
        _record(model, folder)


def _complete_folder(model, folder):
    """Download what is missing of a folder; return whether it was compared with the bucket."""
    by_hand = folder.exists() and any(folder.iterdir())
    unfinished = folder if by_hand else folder.with_name(f"{folder.name}.part")
    files = None
    try:
        files = list_folder(model.url, recursive=model.format == "SavedModel")
        if not by_hand:
            print(f"Downloading {model.url} to {folder}.")
        download_files(files, unfinished)
    except ConnectionError as error:
        if by_hand and files is None and not any(folder.rglob("*.part")):
            print(f"{folder} was not compared with {model.url}. {error}")
            return False
        raise ConnectionError(
            f"{error} Try again, which resumes the download, or put the files of {model.url} into "
            f"{folder} yourself."
        ) from error
    if not by_hand:
        os.replace(unfinished, folder)
    return True


def _checkpoint_folder(folder):
    """Return the folder of the checkpoint in an unpacked archive; its hub module is deeper."""
    indices = sorted(folder.rglob("*.index"), key=lambda path: len(path.parts))
    return indices[0].parent if indices else None


def _record(model, folder):
    """Write the size and the checksum of each file to a file of the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "checksum": file_checksum(path),
        }
        for path in paths
    }
    if not (model.checksum or model.url.startswith("gs://")):
        print(f"No checksum of {model.name} is published. Recorded what was received: {files}.")
    with replacing(folder / RECORD) as unfinished:
        unfinished.write_text(json.dumps({"url": model.url, "files": files}, indent=2))


def _check_sizes(folder):
    if not (folder / RECORD).exists():  # put there by hand, without a network
        return
    for name, expected in json.loads((folder / RECORD).read_text())["files"].items():
        path = folder / name
        size = path.stat().st_size if path.exists() else None
        if size != expected["size"]:
            raise ValueError(
                f"{path} is damaged. Received: {size} bytes, expected {expected['size']}. Delete "
                f"{folder}: the next call downloads it again."
            )


def fetch_from_hub(url: str) -> Path:
    """Return the path of a file or a repository of the Hugging Face Hub, in the cache of the Hub.

    Args:
        url: "hf://owner/repository" or "hf://owner/repository/file".

    Returns:
        The path of the file. Of a repository, its folder if that is a preset, a SavedModel or a
        TF1 checkpoint, and otherwise its only weights file.

    Raises:
        ValueError: If the URL has another form, or a repository has several weights files.
        ImportError: If `huggingface_hub` is not installed.
        ConnectionError: If the network fails, or there is no such file.
    """
    match = re.fullmatch(r"hf://([\w.-]+/[\w.-]+?)(?:/(.+?))?/?", url)
    if not match or ".." in url.split("/"):
        raise ValueError(
            "A URL of the Hugging Face Hub must be hf://owner/repository or "
            f"hf://owner/repository/file. Received: {url!r}."
        )
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ImportError(HUB_EXTRA) from error
    repository, name = match.groups()
    try:
        if name:
            return Path(huggingface_hub.hf_hub_download(repository, name))
        return only_checkpoint(Path(huggingface_hub.snapshot_download(repository)))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise ConnectionError(
            f"Could not download {url} ({error}). Try again, or download "
            f"https://huggingface.co/{repository} yourself and pass the path of "
            f"{name or 'the folder'}."
        ) from error


def only_checkpoint(folder: Path) -> Path:
    """Return a folder that is a model, or else its only weights file.

    Raises:
        ValueError: If there are none or several.
    """
    if any((folder / name).exists() for name in WHOLE_FOLDERS):
        return folder
    found = [sorted(folder.rglob(pattern)) for pattern in WEIGHT_FILES]
    best = next((paths for paths in found if paths), [])
    if len(best) != 1:
        raise ValueError(
            f"{folder} must have exactly one weights file. Received: "
            f"{[path.relative_to(folder).as_posix() for path in best]}. Pass the path of the one "
            "that you need; of a repository, hf://owner/repository/file."
        )
    return best[0]
