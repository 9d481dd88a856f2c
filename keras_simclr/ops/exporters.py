"""The formats to which Keras exports models, on each backend."""

import dataclasses
import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_simclr.validation import check_choice


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A format to which models are exported.

    Args:
        suffix: Suffix of the file; empty for a folder.
        packages: For each backend that can export to it, the packages that it needs.
    """

    suffix: str
    packages: dict[str, tuple[str, ...]]


EXPORT_FORMATS = {
    "tf_saved_model": ExportFormat("", {"tensorflow": (), "jax": ("tensorflow",)}),
    "onnx": ExportFormat(
        ".onnx", {"tensorflow": ("tf2onnx",), "jax": ("jax2onnx",), "torch": ("onnx",)}
    ),
    "openvino": ExportFormat(
        ".xml",
        {
            "tensorflow": ("openvino",),
            "jax": ("jax2onnx", "openvino"),
            "torch": ("openvino",),
        },
    ),
    "litert": ExportFormat(".tflite", {"tensorflow": (), "torch": ("litert_torch",)}),
    "torch": ExportFormat(".pt2", {"torch": ()}),
}
# `litert-torch` is in no extra: it needs a `typing-extensions` older than `jax2onnx` does.
INSTALL = {"litert_torch": "litert-torch"}


def check_format(format: Any) -> ExportFormat:
    """Return a format by its name.

    Raises:
        ValueError: If there is no such format, or the backend cannot export to it.
        ImportError: If a package is missing.
    """
    check_choice("format", format, EXPORT_FORMATS)
    backend = keras.backend.backend()
    if backend not in EXPORT_FORMATS[format].packages:
        works = [name for name, other in EXPORT_FORMATS.items() if backend in other.packages]
        others = " or ".join(EXPORT_FORMATS[format].packages)
        raise ValueError(
            f"`format` must be one that can be exported on this backend. Received: format="
            f"{format!r} on {backend}. These can: {', '.join(map(repr, works))}. Or save the "
            f"model, load it under KERAS_BACKEND={others}, and export it there."
        )
    for package in EXPORT_FORMATS[format].packages[backend]:
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"The package `{package}` is missing, which export to {format!r} needs on "
                f'{backend}. Run `pip install "{INSTALL.get(package, "keras-simclr[export]")}"`.'
            )
    return EXPORT_FORMATS[format]


def write_exported(
    model: keras.Model, path: Path, format: str, spec: keras.InputSpec, **options: Any
) -> None:
    """Export a model.

    Args:
        model: A functional model with one input.
        path: Path of the file or folder to write.
        format: Name of a format that `check_format` has passed.
        spec: Shape, dtype and name of the input; a size of None is dynamic.
        **options: Options of `keras.Model.export` for this format.
    """
    if format == "torch" and spec.shape[0] is None:
        import torch

        options.setdefault("dynamic_shapes", {0: torch.export.Dim("batch")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # converters warn of their own deprecated calls
        if format == "openvino" and keras.backend.backend() == "jax":
            _export_by_onnx(model, path, spec, options)
        else:
            model.export(str(path), format, verbose=False, input_signature=[spec], **options)


def _export_by_onnx(model, path, spec, options):
    """Export to OpenVINO by way of ONNX: OpenVINO cannot read what JAX writes for TensorFlow."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        onnx_file = f"{folder}/model.onnx"
        model.export(onnx_file, "onnx", verbose=False, input_signature=[spec], **options)
        try:
            converted = openvino.convert_model(onnx_file)
        except Exception as error:
            raise ValueError(
                "OpenVINO cannot read a layer of this model as JAX exports it; average pooling is "
                f"one. Received: {type(error).__name__}: {error} Save the model, load it under "
                "KERAS_BACKEND=tensorflow or torch, and export it there."
            ) from error
        openvino.serialize(converted, path)
