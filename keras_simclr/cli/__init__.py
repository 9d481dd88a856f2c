"""The command line `keras-simclr`, also `python -m keras_simclr`."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from keras_simclr.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("keras_simclr"):
            raise
        print(
            f'The command line needs {error.name}: pip install "keras-simclr[cli]"', file=sys.stderr
        )
        sys.exit(1)
    app(prog_name="keras-simclr")
