"""`keras-simclr report` and `import`."""

import os
from pathlib import Path
from typing import Any

from keras_simclr.cli.label_efficiency import load_measured
from keras_simclr.cli.runs import (
    HISTORY,
    load_model,
    read_as_before,
    read_config,
    read_labeled,
    read_sample,
)
from keras_simclr.models import import_checkpoint
from keras_simclr.plotting import load_history
from keras_simclr.report import write_report


def run_report(
    run: Path,
    out: Path | None,
    images: Path | None,
    labeled: Path | None,
    max_images: int,
    max_broken: float,
) -> dict[str, Any]:
    """Write the report of a run on its own images, on others or on labeled ones."""
    config = read_config(run, "pretrain")
    model = load_model(run, "model")
    if labeled:
        folder = read_labeled(labeled, config, max_broken)
    else:
        folder = read_as_before(images or Path(config["images"]), config, max_broken)
    rows, shown = read_sample(folder, max_images)
    out = out or run / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_report(
        out,
        model,
        shown,
        history=load_history(run / HISTORY),
        labels=folder.targets[0][rows] if labeled else None,
        class_names=folder.class_names if labeled else None,
        names=[os.path.relpath(path, folder.images.root) for path in folder.images.paths_of(rows)],
        settings=config,
        label_efficiency=load_measured(run),
        title=f"SimCLR run {run.resolve().name}",
        max_images=max_images,
    )
    return {"report": str(out), "images": len(shown)}


def run_import(
    checkpoint: str, out: Path, safetensors: bool, options: dict[str, Any]
) -> dict[str, Any]:
    """Save a checkpoint of another project as Keras models."""
    files = import_checkpoint(checkpoint, out, safetensors=safetensors, **options)
    return {"files": [str(path) for path in files]}
