"""The commands and their options; what they do is imported when they run."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_simclr.cli.options import (
    BatchSize,
    Config,
    Epochs,
    Images,
    ImageSize,
    Json,
    Labeled,
    MaxBroken,
    Out,
    Run,
    RunOut,
    Seed,
)
from keras_simclr.cli.reporting import in_words, show

app = typer.Typer(
    name="keras-simclr",
    help="Learn features from a folder of unlabeled images, then classify with few labels.\n\n"
    "\b\n"
    "  keras-simclr pretrain IMAGES --out RUN\n"
    "  keras-simclr fine-tune RUN LABELED --out CLASSIFIER\n"
    "  keras-simclr predict CLASSIFIER IMAGES --out classes.csv",
    epilog="The environment variable KERAS_BACKEND picks tensorflow, jax or torch. Progress goes "
    "to stderr, results to stdout. Exit codes: 0 success, 1 error, 2 wrong usage, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _command(
    function: Callable[..., dict[str, Any]], name: str | None = None
) -> Callable[..., dict[str, Any]]:
    """Add a function as a command that prints what it returns, and its errors in words."""

    @functools.wraps(function)
    def command(*args: Any, as_json: bool, **options: Any) -> None:
        options.pop("config", None)
        try:
            result = in_words(function, *args, **options)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None
        if result is None:
            raise typer.Exit(1)
        show(result, as_json)

    app.command(name, no_args_is_help=True)(command)
    return function


@_command
def pretrain(
    images: Images,
    out: RunOut,
    image_size: ImageSize = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="resnet10, ..., resnet200, or with a width: resnet10_0.5x.  "
            "[default: by the images and the device]"
        ),
    ] = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    max_broken: MaxBroken = 0.1,
    config: Config = None,
    as_json: Json = False,
) -> dict[str, Any]:
    """Learn features from images without labels.

    Writes config.yaml, history.csv, model.keras, encoder.keras, history.png and views.png to the
    folder of the run, and backups while it is not complete.

    Defaults: the size of the images if all have the same, at most 96 pixels, otherwise the median
    of the shorter sides, at most 96; resnet50 with a GPU and at least 50,000 images,
    resnet10_0.5x without a GPU for images of at most 32 pixels, otherwise resnet18; the largest
    batch size of 32 to 256 that gives 10 steps per epoch; and 10 to 500 epochs, enough to see
    100,000 images, 300,000 with resnet10_0.5x, 10 million with a GPU.
    """
    from keras_simclr.cli.pretraining import run_pretraining

    return run_pretraining(
        images,
        out,
        {
            "image_size": image_size,
            "backbone": backbone,
            "batch_size": batch_size,
            "epochs": epochs,
            "seed": seed,
            "max_broken": max_broken,
        },
    )


@_command
def fine_tune(
    run: Run,
    labeled: Labeled,
    out: RunOut,
    validation: Annotated[
        Path | None, typer.Option(help="Labeled images to validate on, as LABELED.")
    ] = None,
    batch_size: BatchSize = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the images.  [default: 30, or 100 frozen]"),
    ] = None,
    freeze_backbone: Annotated[
        bool, typer.Option("--freeze-backbone", help="Train only the classification layer.")
    ] = False,
    seed: Seed = 0,
    max_broken: MaxBroken = 0.1,
    config: Config = None,
    as_json: Json = False,
) -> dict[str, Any]:
    """Train a classifier on labeled images.

    Starts from the encoder of a run. Writes config.yaml, history.csv, history.png and
    classifier.keras. Paths in a CSV file start from its folder.
    """
    from keras_simclr.cli.classifying import run_fine_tuning

    return run_fine_tuning(
        run,
        labeled,
        out,
        {
            "validation": validation and str(validation.resolve()),
            "batch_size": batch_size,
            "epochs": epochs,
            "freeze_backbone": freeze_backbone,
            "seed": seed,
            "max_broken": max_broken,
        },
    )


@_command
def predict(
    classifier: Annotated[
        Path, typer.Argument(metavar="CLASSIFIER", help="Output folder of `fine-tune`.")
    ],
    images: Images,
    out: Out,
    max_broken: MaxBroken = 0.1,
    as_json: Json = False,
) -> dict[str, Any]:
    """Classify images.

    Writes a CSV file with the path of each image below IMAGES, its most probable class, and the
    probability of each class.
    """
    from keras_simclr.cli.classifying import run_prediction

    return run_prediction(classifier, images, out, max_broken)


@_command
def embed(
    run: Run, images: Images, out: Out, max_broken: MaxBroken = 0.1, as_json: Json = False
) -> dict[str, Any]:
    """Write the features of images, and their paths below IMAGES.

    The ending of --out picks the format: .parquet (columns path and features), .csv (path, h0, h1,
    ...), or .npy (the features; the paths are beside it in a .paths.json).
    """
    from keras_simclr.cli.features import run_embedding

    return run_embedding(run, images, out, max_broken)


@_command
def evaluate(
    run: Run,
    labeled: Labeled,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Labeled images to test on.  [default: a fifth of each class of LABELED]"
        ),
    ] = None,
    label_efficiency: Annotated[
        bool,
        typer.Option(
            "--label-efficiency",
            help="Also train with 1 %, 10 % and all labels: up to 21 trainings of 300 steps.",
        ),
    ] = False,
    seed: Seed = 0,
    max_broken: MaxBroken = 0.1,
    as_json: Json = False,
) -> dict[str, Any]:
    """Test the features of a run on labeled images.

    Prints the accuracy of the nearest neighbors (kNN) and of a linear classifier on the features.

    --label-efficiency compares fine-tuning, a linear classifier and training from scratch on at
    most 10,000 images, in up to 21 trainings of 300 steps with batches of at most 128, and
    writes label_efficiency.json to RUN.
    """
    from keras_simclr.cli.features import run_evaluation

    return run_evaluation(run, labeled, test, label_efficiency, seed, max_broken)


@_command
def views(
    images: Images,
    out: Out,
    image_size: ImageSize = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="Number of images.")] = 8,
    seed: Seed = 0,
    max_broken: MaxBroken = 0.1,
    as_json: Json = False,
) -> dict[str, Any]:
    """Draw images beside random views of them.

    Up to 100 epochs, pretraining crops less: `views.png` of a run shows its own views.
    """
    from keras_simclr.cli.pretraining import draw_views

    return draw_views(images, out, image_size, count, seed, max_broken)


@_command
def report(
    run: Run,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML page.  [default: RUN/report.html]")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Images to show.  [default: those of the run]")
    ] = None,
    labeled: Annotated[
        Path | None, typer.Option(help="Labeled images to show, with their classes.")
    ] = None,
    max_images: Annotated[int, typer.Option(min=9, help="Number of images to show.")] = 1000,
    max_broken: MaxBroken = 0.1,
    as_json: Json = False,
) -> dict[str, Any]:
    """Write what a run learned as one HTML page.

    The page explains the numbers. They say more on images that the run was not trained on. What
    `evaluate --label-efficiency` has measured is shown as well.
    """
    from keras_simclr.cli.reports import run_report

    return run_report(run, out, images, labeled, max_images, max_broken)


def import_(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="A file, a folder, a published model, or hf://OWNER/NAME."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Path of the model, NAME.keras.")],
    head_on: Annotated[
        str | None,
        typer.Option(help="What the classification head is applied to: h or projection."),
    ] = None,
    allow_supervised: Annotated[
        bool,
        typer.Option("--allow-supervised", help="Also import networks trained with labels only."),
    ] = False,
    safetensors: Annotated[
        bool, typer.Option("--safetensors", help="Also write safetensors and a model card.")
    ] = False,
    as_json: Json = False,
) -> dict[str, Any]:
    """Save a published checkpoint, or one of another project, as a Keras model.

    A classification head is saved beside the model, as NAME-classifier.keras.
    """
    from keras_simclr.cli.reports import run_import

    options = {"head_on": head_on, "allow_supervised": allow_supervised}
    return run_import(checkpoint, out, safetensors, options)


_command(import_, "import")
