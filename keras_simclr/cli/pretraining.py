"""`keras-simclr pretrain` and `views`."""

from pathlib import Path
from typing import Any

from keras_simclr import distribution
from keras_simclr.cli.runs import (
    finish,
    input_options,
    read_sample,
    resumed_options,
    run_callbacks,
    save_figure,
    write_config,
    write_results,
)
from keras_simclr.data.batch_size import DEFAULT_BATCH_SIZE, check_two_images, default_batch_size
from keras_simclr.datasets import image_folder
from keras_simclr.layers import SimCLRAugmenter
from keras_simclr.models import SimCLR
from keras_simclr.plotting import plot_views
from keras_simclr.validation import check_choice
from keras_simclr.view_size import is_small_view

MIN_BATCH_SIZE, MIN_STEPS = 32, 10
MANY_IMAGES = 50_000  # from which a large network is worth its time
SMALL, MEDIUM, LARGE = "resnet10_0.5x", "resnet18", "resnet50"
IMAGES_SEEN = {SMALL: 300_000, MEDIUM: 100_000}  # in a run without a GPU
IMAGES_SEEN_FAST = 10_000_000
MIN_EPOCHS, MAX_EPOCHS = 10, 500
NUM_SHOWN = 8
FIGURE_FORMATS = (".png", ".jpg", ".svg", ".pdf")


def run_pretraining(images: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Pretrain on a folder, or resume it; return where the result is."""
    size = options["image_size"]
    given = {"images": str(images.resolve()), **options, "image_size": size and [size, size]}
    config = resumed_options(out, "pretrain", given)
    if config and (out / "model.keras").exists():
        return {"run": str(out), "complete": True}
    folder = image_folder(
        images,
        config["image_size"] if config else size,
        labels=None,
        max_broken=options["max_broken"],
        **({"channels": config["channels"], "max_value": config["white"]} if config else {}),
    )
    config = config or {
        "command": "pretrain",
        **given,
        **input_options(folder),
        **choose_settings(folder.images.shape, distribution.has_accelerator(), options),
    }
    check_two_images(len(folder.images), config["batch_size"])
    print(", ".join(f"{name} {config[name]}" for name in ("backbone", "batch_size", "epochs")))
    if config["backbone"] == SMALL and not options["backbone"]:
        print(
            f"{SMALL} is a small network for small images without a GPU; --backbone {MEDIUM} "
            "chooses a larger one, with some 10 times the time per image."
        )
    model = SimCLR(config["backbone"], seed=config["seed"])
    model.build((None, *folder.images.shape[1:]))
    write_config(out, config)
    _, shown = read_sample(folder, NUM_SHOWN)
    model.plan_epochs(config["epochs"])  # for the crops in the figure
    save_figure(plot_views(model.augmenter, shown), out / "views.png")
    dataset = folder.planned(batch_size=config["batch_size"])
    callbacks = run_callbacks(out)
    history = model.fit(dataset, epochs=config["epochs"], callbacks=callbacks, verbose=0)
    finish(out, history, encoder=model.encoder, model=model)
    return {
        "run": str(out),
        "images": len(folder.images) - len(folder.images.broken),
        "broken": list(folder.broken),
        **{name: values[-1] for name, values in history.history.items()},
    }


def choose_settings(
    shape: tuple[int, ...], has_gpu: bool, options: dict[str, Any]
) -> dict[str, Any]:
    """Return backbone, batch size and epochs: those given, or by the shape of the images.

    Example:
    >>> nothing = {"backbone": None, "batch_size": None, "epochs": None}
    >>> choose_settings((5000, 96, 96, 3), has_gpu=False, options=nothing)
    {'backbone': 'resnet18', 'batch_size': 256, 'epochs': 20}
    """
    count, height, width, _ = shape
    backbone = options["backbone"] or _choose_backbone(count, is_small_view(height, width), has_gpu)
    size = max(MIN_BATCH_SIZE, min(DEFAULT_BATCH_SIZE, default_batch_size(count // MIN_STEPS)))
    seen = IMAGES_SEEN_FAST if has_gpu else IMAGES_SEEN.get(backbone, IMAGES_SEEN[MEDIUM])
    chosen = {
        "backbone": backbone,
        "batch_size": min(size, default_batch_size(count)),
        "epochs": min(MAX_EPOCHS, max(MIN_EPOCHS, round(seen / count))),
    }
    return {name: options[name] or value for name, value in chosen.items()}


def _choose_backbone(count, is_small, has_gpu):
    if not has_gpu:
        return SMALL if is_small else MEDIUM
    return LARGE if count >= MANY_IMAGES else MEDIUM


def draw_views(
    images: Path, out: Path, image_size: int | None, count: int, seed: int, max_broken: float
) -> dict[str, Any]:
    """Write a figure of images and their views; return where it is."""
    check_choice("ending of --out", out.suffix, FIGURE_FORMATS)
    folder = image_folder(images, image_size, labels=None, max_broken=max_broken)
    _, shown = read_sample(folder, count)
    augmenter = SimCLRAugmenter(image_size=shown.shape[1:3], seed=seed)
    figure = plot_views(augmenter, shown)
    write_results(out, lambda path: figure.savefig(path, dpi=150))
    return {"views": str(out), "images": len(shown)}
