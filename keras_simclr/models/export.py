"""Export of encoders and classifiers to other runtimes: uint8 images in, features out."""

import os
from pathlib import Path
from typing import Any

import keras
from keras import layers

from keras_simclr.files import replacing_all
from keras_simclr.models.encoder import PIXELS, value_range_of
from keras_simclr.ops.exporters import check_format, write_exported
from keras_simclr.validation import size_pair

SAVED_MODEL = {"assets", "assets.extra", "fingerprint.pb", "saved_model.pb", "variables"}


class Exporter(keras.Model):
    """Base class of `SimCLR` that implements `export`."""

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export the encoder, from uint8 images of the size of the views to features h.

        Args:
            filepath: Path of the file or folder, as in `export_model`.
            format: "tf_saved_model", "onnx", "openvino", "litert" or "torch". Defaults to
                "tf_saved_model".
            verbose: Whether to print the path. Defaults to None: yes.
            input_signature: A `keras.InputSpec` for other images, as in `export_model`.
            **kwargs: `image_size`, and options of `keras.Model.export` for the format.

        Raises:
            ValueError: If the format cannot be exported on this backend.
            ImportError: If a package is missing.
        """
        if input_signature is None:
            kwargs = {"image_size": self._view_size, **kwargs}
        export_model(
            self.encoder,
            filepath,
            format,
            verbose=verbose,
            input_signature=input_signature,
            **{"value_range": self.value_range, **kwargs},
        )


def export_model(
    model: keras.Model,
    filepath: str | os.PathLike,
    format: str = "tf_saved_model",
    *,
    image_size: int | tuple[int, int] | None = None,
    value_range: tuple[float, float] | None = None,
    verbose: bool | None = None,
    input_signature: Any = None,
    **kwargs: Any,
) -> None:
    """Export an encoder or a classifier to a file that other programs run without Keras.

    What is exported takes uint8 images (N, height, width, channels) of any number N, and contains
    the preprocessing. The README has a table of the formats that each backend can export.

    Args:
        model: A `SimCLR`, of which the encoder is exported, an encoder, a classifier, or any model
            from images to vectors.
        filepath: Path of a folder ("tf_saved_model"), or of a file that ends with ".onnx",
            ".xml" ("openvino"), ".tflite" ("litert") or ".pt2" ("torch"). OpenVINO's weights, and
            those of a large ONNX file, are in a second file beside it.
        format: "tf_saved_model", "onnx", "openvino", "litert" or "torch". Defaults to
            "tf_saved_model".
        image_size: Size of the images in pixels, an int or (height, width). Defaults to that of
            the model's input, or for a `SimCLR` to that of its views.
        value_range: (lower, upper) that the model expects, to which pixels of 0..255 are scaled.
            Defaults to that of the `SimCLR`, of its encoder or classifier; required for another
            model, and for one without a `ResNet` that was loaded from a file.
        verbose: Whether to print the path. Defaults to None: yes.
        input_signature: A `keras.InputSpec` with another shape or dtype of the images, instead of
            `image_size`; images that are not uint8 are expected in `value_range`. Sizes of None
            work on TensorFlow. Defaults to None: (None, height, width, channels), uint8.
        **kwargs: Options of `keras.Model.export` for the format.

    Raises:
        ValueError: If an argument is invalid, or the format cannot be exported on this backend.
        ImportError: If a package is missing; `pip install "keras-simclr[export]"` has them all.
    """
    if isinstance(model, Exporter):
        options = {"image_size": image_size, "value_range": value_range, **kwargs}
        given = {name: option for name, option in options.items() if option is not None}
        return model.export(filepath, format, verbose, input_signature, **given)
    path = Path(filepath)
    _check_network(model)
    _check_path(path, format)
    spec = _input_spec(model, size_pair(image_size), input_signature)
    served = _with_preprocessing(model, spec, value_range)
    with replacing_all(path) as unfinished:
        write_exported(served, unfinished, format, spec, **kwargs)
    if verbose is not False:
        print(f"Exported to {path}")
    return None


def _check_network(model):
    shape = getattr(model, "input_shape", None) if isinstance(model, keras.Model) else None
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "`model` must be a built Keras model with one input, images (N, height, width, "
            f"channels). Received: {model!r} with input_shape={shape}."
        )


def _check_path(path, format):
    suffix = check_format(format).suffix
    if not path.name.endswith(suffix):
        raise ValueError(
            f"`filepath` must end with {suffix!r} for format={format!r}. Received: {path}."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"`filepath` must be in a folder that exists. Received: {path}. Create {path.parent}."
        )
    if path.exists() and not _is_replaceable(path, suffix):
        raise ValueError(
            f"`filepath` must be new, or the path of an earlier export. Received: {path}. Choose "
            "another one."
        )
    weights = path.with_suffix(".bin")
    if format == "openvino" and weights.exists() and not path.exists():
        raise ValueError(
            f"`filepath` must leave {weights.name} free for the weights. Received: {path}, beside "
            f"a {weights.name} of something else. Choose another name, or delete that file."
        )


def _is_replaceable(path, suffix):
    if suffix == ".xml":  # which other programs write as well
        return path.is_file() and b"<net " in path.read_bytes()[:1000]
    if suffix:
        return path.is_file()
    return path.is_dir() and {entry.name for entry in path.iterdir()} <= SAVED_MODEL


def _input_spec(model, image_size, given):
    """Return the `keras.InputSpec` of the images."""
    *fixed, channels = model.input_shape[1:]
    if given is None:
        size = image_size or fixed
        if None in size:
            raise ValueError(
                "The size of the images must be known. Received: a model for images of any size, "
                "and image_size=None. Pass the `image_size` that it was trained with."
            )
        shape, dtype = (None, *size, channels), "uint8"
    else:
        given = given[0] if isinstance(given, (list, tuple)) and len(given) == 1 else given
        if getattr(given, "shape", None) is None:
            raise ValueError(
                "`input_signature` must be a `keras.InputSpec` with a shape. Received: "
                f"input_signature={given!r}. Pass keras.InputSpec(shape=(None, height, width, "
                'channels), dtype="uint8"), or `image_size` alone.'
            )
        shape, dtype = tuple(given.shape), getattr(given, "dtype", None) or "float32"
    spec = keras.InputSpec(shape=shape, dtype=dtype, name="images")
    matches = len(spec.shape) == 4 and all(
        own in (None, size) for own, size in zip(model.input_shape[1:], spec.shape[1:], strict=True)
    )
    if not matches:
        raise ValueError(
            "Images of this shape do not fit the model. Received: images of shape "
            f"{shape} for a model with input_shape={model.input_shape}. Change "
            "`image_size` or `input_signature`."
        )
    return spec


def _with_preprocessing(model, spec, value_range):
    """Return the model from images of `spec`; pixels of 0..255 are scaled to `value_range`."""
    inputs = keras.Input(batch_shape=spec.shape, dtype=spec.dtype, name=spec.name)
    images = inputs
    if spec.dtype == "uint8":
        lower, upper = value_range_of(model, value_range)
        if (lower, upper) != PIXELS:
            images = layers.Rescaling((upper - lower) / 255, lower, dtype="float32")(images)
    return keras.Model(inputs, model(images), name=model.name)
