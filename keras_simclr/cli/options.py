"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from keras_simclr.cli.config_file import use_config

Images = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder of image files, flat or nested.")
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Output folder of `pretrain`.")]
Labeled = Annotated[
    Path,
    typer.Argument(
        metavar="LABELED", help="Folder with a folder per class, or a CSV file of path,label."
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write the result.")]
RunOut = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the run; the same command resumes it.")
]
ImageSize = Annotated[
    int | None, typer.Option(min=8, help="Pixels per side.  [default: by the images, at most 96]")
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Passes over the images.  [default: by their number]")
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=2, help="Images per step.  [default: by their number, at most 256]"),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
MaxBroken = Annotated[
    float, typer.Option(min=0, max=1, help="Largest fraction of files that may be unreadable.")
]
Config = Annotated[
    Path | None,
    typer.Option(is_eager=True, callback=use_config, help="config.yaml of a run, to repeat it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
