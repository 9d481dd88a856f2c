"""Folders of runs: their config, and what is written to them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

from keras_simclr import __version__
from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.cli.progress import Progress
from keras_simclr.datasets import image_folder
from keras_simclr.datasets.image_folder import ImageFolder
from keras_simclr.files import replacing
from keras_simclr.plotting import plot_history

CONFIG, HISTORY, BACKUP = "config.yaml", "history.csv", "backup"


def read_config(folder: Path, command: str) -> dict[str, Any]:
    """Return the config of a run of a command.

    Raises:
        ValueError: If the folder does not hold one.
    """
    try:
        config = yaml.safe_load((folder / CONFIG).read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(
            f"There is no run of `{command}`. Received: {str(folder)!r}, whose {CONFIG} cannot be "
            f"read. Pass the output folder of `keras-simclr {command}`."
        ) from error
    if not isinstance(config, dict) or config.get("command") != command:
        raise ValueError(
            f"The folder must hold a run of `{command}`. Received: {str(folder)!r}, which holds "
            "another one."
        )
    return config


def resumed_options(out: Path, command: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the config of the run in a folder if it can be resumed, or None if there is none.

    Args:
        out: Folder of the run.
        command: Command of the run.
        given: Options of this run; None if they are to be chosen.

    Raises:
        ValueError: If the folder holds something else.
    """
    if not out.exists() or (out.is_dir() and not os.listdir(out)):
        return None
    if not (out / CONFIG).exists():
        raise ValueError(
            f"The folder of a run must be new or empty. Received: {str(out)!r}, which has other "
            "files. Choose another folder."
        )
    config = read_config(out, command)
    differing = [
        f"{name}={value!r} instead of {config.get(name)!r}"
        for name, value in given.items()
        if name != "max_broken" and value is not None and config.get(name) != value
    ]
    if differing:
        raise ValueError(
            f"The folder holds another run. Received: {str(out)!r} with {', '.join(differing)}. "
            "Choose another folder, or repeat the options of that run to resume it."
        )
    return config


def write_config(out: Path, config: dict[str, Any]) -> None:
    """Write the config of a run, with the backend and the version that it ran with."""
    out.mkdir(parents=True, exist_ok=True)
    ran_with = {"backend": keras.config.backend(), "version": __version__}
    with replacing(out / CONFIG) as path:
        text = yaml.safe_dump({**config, **ran_with}, sort_keys=False, allow_unicode=True)
        path.write_text(text, "utf-8")


def run_callbacks(out: Path) -> list[keras.callbacks.Callback]:
    """Return the callbacks of a run in a folder."""
    logger = keras.callbacks.CSVLogger(str(out / HISTORY))
    backup = BackupAndRestore(out / BACKUP, delete_checkpoint=False)
    return [logger, backup, Progress()]


def finish(out: Path, history: Any, **models: keras.Model) -> None:
    """Write the models of a complete run and its history, and delete its backups."""
    save_figure(plot_history(history), out / "history.png")
    for name, model in models.items():
        with replacing(out / f"{name}.keras") as path:
            model.save(path)
    shutil.rmtree(out / BACKUP, ignore_errors=True)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure of Matplotlib to a file."""
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=150)


def load_model(folder: Path, name: str) -> Any:
    """Return a model of a complete run."""
    path = folder / f"{name}.keras"
    if not path.exists():
        raise ValueError(
            f"The run is not complete. Received: {str(folder)!r} without {path.name}. Repeat its "
            "command to resume it."
        )
    return keras.saving.load_model(path)


def input_options(folder: ImageFolder) -> dict[str, Any]:
    """Return how the images of a folder were read, for a config."""
    read_as = folder.images.image_format
    return {
        "image_size": [read_as.height, read_as.width],
        "channels": read_as.channels,
        "white": read_as.white,
    }


def read_as_before(
    path: Path, config: dict[str, Any], max_broken: float, labels: Any = None, **options: Any
) -> ImageFolder:
    """Load a folder of images as those of the run with this config were read."""
    return image_folder(
        path,
        tuple(config["image_size"]),
        labels=labels,
        channels=config["channels"],
        max_value=config["white"],
        max_broken=max_broken,
        **options,
    )


def read_labeled(path: Path, config: dict[str, Any], max_broken: float, **options: Any) -> Any:
    """Load labeled images from folders of classes, or from a CSV file of paths below its folder."""
    if path.is_dir():
        return read_as_before(path, config, max_broken, "folders", **options)
    return read_as_before(path.absolute().parent, config, max_broken, path, **options)


def write_results(out: Path, write: Callable[[Path], Any]) -> None:
    """Let a function write a file, in a folder that is created."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as path:
        write(path)


def read_sample(folder: ImageFolder, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of evenly spaced images of a folder, without broken ones, and the images."""
    rows = np.unique(np.linspace(0, len(folder.images) - 1, count, dtype=int))
    images = np.zeros((len(rows), *folder.images.shape[1:]), folder.images.dtype)
    failed = folder.images.read_into(rows, images)
    return np.delete(rows, failed), np.delete(images, failed, axis=0)
