"""`from_preset` and `save_to_preset`, in the manner of keras-hub."""

import dataclasses
import datetime
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from keras_simclr.checkpoints.fetch import fetch, fetch_from_hub, only_checkpoint
from keras_simclr.checkpoints.registry import PUBLISHED_MODELS, published_model
from keras_simclr.files import replacing_all, set_aside
from keras_simclr.models.resnet import ResNet

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"


def _described(model):
    return {"description": model.description, **dataclasses.asdict(model)}


class PresetMethods(keras.Model):
    """Base class of `SimCLR` that implements `from_preset` and `save_to_preset`.

    Attributes:
        presets: What is known of each published model, and a `description`, by its name.
    """

    presets: Mapping[str, dict] = MappingProxyType(
        {name: _described(model) for name, model in PUBLISHED_MODELS.items()}
    )

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike,
        *,
        augmenter: Any = None,
        num_views: int | None = None,
        temperature: float | None = None,
        image_size: int | tuple[int, int] | None = None,
        value_range: tuple[float, float] | None = None,
        micro_batch_size: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load a published model, a checkpoint file or a saved preset.

        Published models are downloaded once, to `presets` in the folder `$KERAS_SIMCLR_HOME`, by
        default `~/.keras/keras_simclr`. The classifier of a checkpoint that has one is
        `model.classifier`.

        Args:
            preset: A name in `SimCLR.presets`, the path of a folder of `save_to_preset`, of a
                `.keras` file or of a checkpoint of another project, or
                "hf://owner/repository" or "hf://owner/repository/file" on the Hugging Face Hub.
            augmenter: As in `SimCLR`, like the following arguments. Each defaults to the setting
                of the preset.
            num_views: Views of each image per step.
            temperature: Temperature of the loss.
            image_size: Size of the views in pixels.
            value_range: (lower, upper) of the images.
            micro_batch_size: Images that the encoder processes at a time.
            seed: Seed of the model.
            **kwargs: Only for published models and checkpoints: other arguments of
                `load_checkpoint`, such as `head_on` and `ema`.

        Returns:
            A built `SimCLR`.

        Raises:
            ValueError: If there is no such preset, it is damaged or not of a `SimCLR`, or an
                argument does not fit it.
            ConnectionError: If it must be downloaded and the network fails.

        Example:
        >>> import tempfile
        >>> from keras_simclr import SimCLR
        >>> backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> folder = tempfile.mkdtemp()
        >>> SimCLR(backbone, temperature=0.2).save_to_preset(folder)
        >>> SimCLR.from_preset(folder).temperature
        0.2
        """
        given = {
            "augmenter": augmenter,
            "num_views": num_views,
            "temperature": temperature,
            "image_size": image_size,
            "value_range": value_range,
            "micro_batch_size": micro_batch_size,
            "seed": seed,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        check_before_download({**kwargs, **settings})
        path, options = locate(preset)
        if not is_saved_model(path):
            return _load_checkpoint(path, {**options, **kwargs, **settings})
        if kwargs:
            raise ValueError(
                f"A saved model takes no further arguments. Received: {sorted(kwargs)} with "
                f"preset={os.fspath(preset)!r}. Leave them out."
            )
        model = _load_saved(cls, path)
        return with_settings(model, settings) if settings else model

    def save_to_preset(self, preset_dir: str | os.PathLike) -> None:
        """Save the model to a folder that `from_preset` loads, on any backend.

        The folder has `config.json`, the arguments of the model, `model.weights.h5`, its weights,
        and `metadata.json`. It is written completely or not at all. The state of the optimizer and
        the classifier are not saved.

        Args:
            preset_dir: Path of the folder. A preset that is there is replaced.

        Raises:
            ValueError: If there is a folder with other files, or the model has not been built.
            TypeError: If a class of its layers is not registered for saving.
        """
        folder = _checked_folder(preset_dir)
        copy = with_settings(self, {})  # without optimizer and classifier
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replacing_all(folder) as unfinished:
            unfinished.mkdir()
            config = keras.saving.serialize_keras_object(copy)
            (unfinished / CONFIG).write_text(json.dumps(config, indent=2))
            copy.save_weights(unfinished / WEIGHTS)
            (unfinished / METADATA).write_text(json.dumps(_metadata(copy), indent=2))

    def adopt_classifier(self, classifier: keras.Model | None) -> None:
        """Let `classifier` be the classifier of a checkpoint."""
        self._set_untracked("_classifier", classifier)


def with_settings(model: Any, settings: dict[str, Any]) -> Any:
    """Return a copy of a built `SimCLR` with its weights and with other settings.

    Args:
        model: A built `SimCLR`.
        settings: Arguments of `SimCLR` that replace those of the model.

    Raises:
        ValueError: If a setting does not fit the backbone, or a config does not restore a part.
    """
    parts = [model.encoder, model.projection_head]
    backbone = _with_fixed_stem(model)
    other_range = tuple(settings.get("value_range", model.value_range)) != tuple(model.value_range)
    if other_range and not isinstance(backbone, ResNet):
        raise ValueError(
            "`value_range` must be that of the preset, as its backbone expects such images. "
            f"Received: value_range={settings['value_range']}, expected {model.value_range}. "
            "Rescale the images."
        )
    fixed = {"backbone": backbone} if isinstance(backbone, ResNet) else {}
    copy = type(model).from_config({**model.get_config(), **fixed, **settings})
    copy.build(model.get_build_config()["input_shape"])
    copy_parts = [copy.encoder, copy.projection_head]
    if "augmenter" not in settings:
        parts.append(model.augmenter)
        copy_parts.append(copy.augmenter)
    for part, copied in zip(parts, copy_parts, strict=True):
        for variable, target in zip(part.weights, copied.weights, strict=True):
            target.assign(variable)
    copy.pretrained = model.pretrained
    copy.plan_epochs(model.planned_epochs)
    return copy


def _with_fixed_stem(model):
    """Return the backbone; other sizes of views do not change the stem of one with weights."""
    backbone = model.backbone
    if not isinstance(backbone, ResNet) or backbone.stem != "auto":
        return backbone
    has_pool = any(layer.name == "stem_pool" for layer in model.encoder.layers)
    return dataclasses.replace(backbone, stem="imagenet" if has_pool else "cifar")


def locate(preset: str | os.PathLike) -> tuple[Path, dict[str, Any]]:
    """Return the path of a preset, and what is known of it as arguments of `load_checkpoint`."""
    name = str(preset)
    if name.startswith("hf://"):
        is_of = f"{name.rstrip('/')}/".startswith  # the repository, or one of its files
        listed = [model for model in PUBLISHED_MODELS.values() if is_of(f"{model.url}/")]
        return fetch_from_hub(name), _known_of(listed[0]) if listed else {}
    path = Path(preset).expanduser()
    if not path.exists() and set_aside(path).exists():  # killed while it was replaced
        path = set_aside(path)
    if path.exists():
        whole = path.is_file() or is_saved_model(path) or any(path.glob("*.index"))  # TensorFlow's
        return path if whole else only_checkpoint(path), {}
    published = published_model(name)
    return fetch(published), _known_of(published)


def _known_of(published):
    """Return what is known of a published model as arguments of `load_checkpoint`."""
    facts = {name: getattr(published, name) for name in ("normalization", "style", "head_on")}
    return {**facts, "allow_supervised": True}


def check_before_download(arguments: dict[str, Any]) -> None:
    """Raise a ValueError if arguments of `load_checkpoint` are wrong for any file."""
    from keras_simclr.models.load_checkpoint import check_arguments  # which needs `SimCLR`

    check_arguments(**arguments)


def _load_checkpoint(path, arguments):
    from keras_simclr.models.load_checkpoint import load_checkpoint  # which needs `SimCLR`

    loaded = load_checkpoint(path, **arguments)
    loaded.model.adopt_classifier(loaded.classifier)
    return loaded.model


def is_saved_model(path: Path) -> bool:
    """Return whether a path is a `.keras` file or a folder of `save_to_preset`."""
    return path.suffix == ".keras" or "keras_simclr_version" in _read_json(path / METADATA)


def _load_saved(cls, path):
    try:
        model = keras.saving.load_model(path, compile=False) if path.is_file() else _restore(path)
    except Exception as error:  # its cause is in the file
        raise ValueError(
            f"{path} cannot be loaded. Received: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, cls):
        raise ValueError(
            f"{path} must be a saved `{cls.__name__}`. Received: a `{type(model).__name__}`, which "
            "`keras.saving.load_model` loads."
        )
    return model


def _restore(folder):
    model = keras.saving.deserialize_keras_object(json.loads((folder / CONFIG).read_text()))
    model.load_weights(folder / WEIGHTS)
    return model


def _read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _checked_folder(preset_dir):
    folder = Path(preset_dir).expanduser().absolute()
    if "://" in os.fspath(preset_dir) or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"`preset_dir` must be a folder. Received: {os.fspath(preset_dir)!r}.")
    found = os.listdir(folder) if folder.exists() else []
    is_preset = "keras_simclr_version" in _read_json(folder / METADATA)
    others = sorted(set(found) - ({CONFIG, WEIGHTS, METADATA} if is_preset else set()))
    if others:
        raise ValueError(
            "`preset_dir` must be a new folder, an empty one or a preset. Received: "
            f"{os.fspath(preset_dir)!r}, which has other files: {others[:5]}. Choose "
            "another folder."
        )
    return folder


def _metadata(model):
    return {
        "keras_version": keras.version(),
        "keras_simclr_version": importlib.metadata.version("keras-simclr"),
        "parameter_count": model.count_params(),
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
