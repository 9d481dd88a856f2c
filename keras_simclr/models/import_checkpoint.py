"""Checkpoints of other projects as Keras files."""

import contextlib
import os
from pathlib import Path
from typing import Any

from keras_simclr.checkpoints.registry import PUBLISHED_MODELS
from keras_simclr.files import replacing
from keras_simclr.models.load_checkpoint import LoadedCheckpoint, check_arguments, load_checkpoint
from keras_simclr.models.preset_methods import is_saved_model, locate
from keras_simclr.models.safetensors_file import safetensors_functions, to_safetensors

CARD = """---
{license}library_name: keras
tags: [simclr, self-supervised, image-feature-extraction]
---
# {title}

{description}

| file | what it is |
| --- | --- |
{files}

- Network: ResNet-{depth}, width {width}, selective kernels {sk_ratio}; {parameters:,} parameters.
- Images: {channels} channels in {value_range}; the model scales them itself.
- Features h: {features}. Projection head: {head}.
- Accuracy: {accuracy}; not measured again.

```python
from keras_simclr import SimCLR

model = SimCLR.from_preset("{file}")
features = model.predict(images)
```
"""


def import_checkpoint(
    checkpoint: str | os.PathLike,
    filepath: str | os.PathLike,
    *,
    safetensors: bool = False,
    **kwargs: Any,
) -> list[Path]:
    """Save a published model or a checkpoint as files that load without TensorFlow or PyTorch.

    Args:
        checkpoint: A name in `SimCLR.presets`, a path, or "hf://owner/repository", as in
            `SimCLR.from_preset`.
        filepath: Path of the `SimCLR`, NAME.keras. A classification head is saved beside it, as
            NAME-classifier.keras.
        safetensors: Whether to save NAME.safetensors and a model card, README.md, as well.
            Defaults to False.
        **kwargs: Arguments of `load_checkpoint`, such as `value_range` and `head_on`.

    Returns:
        The paths of the files.

    Raises:
        ValueError: If `filepath` has another suffix, there is a README.md already, or the
            checkpoint cannot be loaded.
        ConnectionError: If it must be downloaded and the network fails.
        ImportError: If a package is missing.
    """
    filepath = Path(filepath)
    card = filepath.with_name("README.md")
    _check_target(filepath, card if safetensors else None)
    check_arguments(**kwargs)
    if safetensors:
        safetensors_functions()
    path, options = locate(checkpoint)
    if is_saved_model(path):
        raise ValueError(
            "`checkpoint` must be that of another project. Received: "
            f"{os.fspath(checkpoint)!r}, which `SimCLR.from_preset` loads as it is."
        )
    loaded = load_checkpoint(path, **{**options, **kwargs})
    filepath.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:  # all of the files or none
        files = _save_models(loaded, filepath, stack)
        if safetensors:
            weights = filepath.with_suffix(".safetensors")
            to_safetensors(loaded.model, stack.enter_context(replacing(weights)))
            files.append(weights)
            text = _model_card(checkpoint, loaded, files)
            stack.enter_context(replacing(card)).write_text(text)
            files.append(card)
    return files


def _check_target(filepath, card):
    if filepath.suffix != ".keras":
        raise ValueError(f"`filepath` must end with '.keras'. Received: {os.fspath(filepath)!r}.")
    if card is not None and card.exists():
        raise ValueError(
            f"The model card must be a new file. Received: {os.fspath(filepath)!r}, beside a "
            "README.md. Choose a folder of its own."
        )


def _save_models(loaded, filepath, stack):
    models = {filepath: loaded.model}
    if loaded.classifier is not None:
        models[filepath.with_name(f"{filepath.stem}-classifier.keras")] = loaded.classifier
    for path, model in models.items():
        model.save(stack.enter_context(replacing(path)))
    return list(models)


def _model_card(checkpoint: str | os.PathLike, loaded: LoadedCheckpoint, files: list[Path]) -> str:
    model, resnet = loaded.model, loaded.model.backbone
    published = PUBLISHED_MODELS.get(str(checkpoint))
    kinds = {".keras": "the model for `keras.saving.load_model`", ".safetensors": "its weights"}
    top1 = published and published.accuracy
    return CARD.format(
        license=f"license: {published.license.lower()}\n" if published else "",
        title=published.name if published else files[0].stem,
        description=f"{published.description} From {published.source}."
        if published
        else f"Imported from {Path(checkpoint).name}.",
        files="\n".join(f"| {path.name} | {_kind(path, kinds)} |" for path in files),
        depth=resnet.depth,
        width=resnet.width,
        sk_ratio=resnet.sk_ratio,
        parameters=model.encoder.count_params(),
        channels=model.encoder.input_shape[-1],
        value_range=model.value_range,
        features=model.encoder.output_shape[-1],
        head="that of the checkpoint" if loaded.has_projection_head else "new, not trained",
        accuracy=f"{top1} % top-1, as published" if top1 else "unknown",
        file=files[0].name,
    )


def _kind(path, kinds):
    if path.stem.endswith("-classifier"):
        return "a classifier: images to class probabilities"
    return kinds[path.suffix]
