"""What the commands print: results to stdout, all else to stderr."""

import contextlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

BACKENDS = ("tensorflow", "jax", "torch")


def in_words(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return what a function returns, or print its error in words and return None.

    What it prints goes to stderr, and so do warnings, without the lines of code that they name.
    `KERAS_SIMCLR_DEBUG=1` lets errors through, with their traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster on a CPU
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning)
        try:
            return function(*args, **options)
        except Exception as error:
            if os.environ.get("KERAS_SIMCLR_DEBUG"):
                raise
            print(f"Error: {describe(error)}", file=sys.stderr)
            return None


def describe(error: Exception) -> str:
    """Return an error in words; of one that TensorFlow wraps, only what was raised."""
    text = str(error) or type(error).__name__
    raised = re.findall(r"^(?:\w+\.)*\w*Error: (.+)$", text, re.MULTILINE)
    if "Traceback" in text and raised:
        return raised[-1]
    if isinstance(error, ModuleNotFoundError) and error.name in BACKENDS:
        return (
            f"The backend {error.name} is not installed. Set KERAS_BACKEND to one that is, or "
            f'install it: pip install "keras-simclr[{error.name}]"'
        )
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename!r}"
    return text


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a result, one line per value or as JSON."""
    if as_json:
        print(json.dumps(result, default=lambda value: value.to_dict()))
        return
    for name, value in result.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        print(f"{name.replace('_', ' ')}:{chr(10) if chr(10) in text else ' '}{text}")


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"Warning: {message}", file=sys.stderr)
