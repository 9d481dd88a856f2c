"""`keras-simclr fine-tune` and `predict`."""

import csv
from pathlib import Path
from typing import Any

from keras_simclr.cli.runs import (
    finish,
    load_model,
    read_as_before,
    read_config,
    read_labeled,
    resumed_options,
    run_callbacks,
    write_config,
    write_results,
)
from keras_simclr.models import SimCLR

INPUT = ("image_size", "channels", "white")


def run_fine_tuning(run: Path, labeled: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Fine-tune the encoder of a run, or resume it; return where the classifier is."""
    given = {"run": str(run.resolve()), "labeled": str(labeled.resolve()), **options}
    pretraining = read_config(run, "pretrain")
    if resumed_options(out, "fine-tune", given) and (out / "classifier.keras").exists():
        return {"classifier": str(out), "complete": True}
    model: SimCLR = load_model(run, "model")
    model.seed = options["seed"]
    limit, size = options["max_broken"], options["batch_size"]
    folder = read_labeled(labeled, pretraining, limit, batch_size=size)
    validation = options["validation"] and read_labeled(
        Path(options["validation"]), pretraining, limit, class_names=folder.class_names
    )
    config = {
        "command": "fine-tune",
        **given,
        **{name: pretraining[name] for name in INPUT},
        "class_names": folder.class_names,
    }
    write_config(out, config)
    classifier = model.fine_tune(
        folder,
        validation_data=validation,
        epochs=options["epochs"],
        freeze_backbone=options["freeze_backbone"],
        callbacks=run_callbacks(out),
        verbose=0,
    )
    finish(out, classifier.history, classifier=classifier)
    history = classifier.history.history
    return {
        "classifier": str(out),
        "classes": len(folder.class_names),
        "labels": len(folder.labels),
        "broken": list(folder.broken),
        **{name: values[-1] for name, values in history.items()},
    }


def run_prediction(classifier: Path, images: Path, out: Path, max_broken: float) -> dict[str, Any]:
    """Write the classes of images; return where they are and how many there are of each."""
    config = read_config(classifier, "fine-tune")
    folder = read_as_before(images, config, max_broken)
    probabilities = load_model(classifier, "classifier").predict(folder, verbose=0)
    names = config["class_names"]
    predicted = probabilities.argmax(axis=-1)
    rows = [
        [path, names[label], *(f"{value:.6f}" for value in row)]
        for path, label, row in zip(folder.relative_paths, predicted, probabilities, strict=True)
    ]
    write_results(out, lambda path: write_csv(path, ["path", "label", *names], rows))
    counts = {name: int((predicted == label).sum()) for label, name in enumerate(names)}
    return {
        "predictions": str(out),
        "images": len(rows),
        "broken": list(folder.broken),
        "counts": counts,
    }


def write_csv(path: Path, header: list[str], rows: Any) -> None:
    """Write rows to a CSV file in UTF-8."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([header, *rows])
