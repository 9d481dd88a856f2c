"""Exported files run in their own runtimes and return what the Keras model returns."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_simclr import SimCLR
from keras_simclr.models import export_model
from keras_simclr.ops.exporters import EXPORT_FORMATS

BACKEND = keras.backend.backend()
README = Path(__file__).parents[2] / "README.md"
SUFFIXES = {
    "tf_saved_model": "",
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "torch": ".pt2",
}
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
FORMATS = [
    pytest.param(name, marks=pytest.mark.extras if name in RUNTIMES else ()) for name in SUFFIXES
]
AVAILABLE = {"tensorflow": "tf_saved_model", "jax": "tf_saved_model", "torch": "torch"}[BACKEND]
# The runtimes import deprecated modules; OpenVINO's forks a process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::ImportWarning"),
]


def run_tf_saved_model(path, images):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # owns the variables
    return loaded.serve(images).numpy()


def run_onnx(path, images):
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, {"images": images})[0]


def run_openvino(path, images):
    import openvino

    in_float32 = {"INFERENCE_PRECISION_HINT": "f32"}  # the default is bfloat16 where a CPU has it
    return openvino.compile_model(path, config=in_float32)(images)[0]


def run_litert(path, images):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_torch(path, images):
    import torch

    return torch.export.load(path).module()(torch.tensor(images)).detach().numpy()


def run(format, path, images):
    """Run an exported file on uint8 images in its own runtime."""
    return globals()[f"run_{format}"](path, images)


def needs(format):
    """Skip a test of a format whose packages are not installed."""
    packages = [*EXPORT_FORMATS[format].packages.get(BACKEND, ()), RUNTIMES.get(format)]
    for package in filter(None, packages):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


def images_like(model, count):
    size = model.input_shape[1:3]
    shape = (count, *(side or 12 for side in size), model.input_shape[3])
    return np.random.default_rng(count).integers(0, 256, shape).astype("uint8")


def works(format, model, tmp_path, **options):
    """Return whether a model can be exported; then compare results for several batch sizes."""
    path = tmp_path / f"exported{SUFFIXES[format]}"
    try:
        export_model(model, path, format, verbose=False, **options)
    except ValueError as error:
        assert "under KERAS_BACKEND=" in str(error)
        assert list(tmp_path.iterdir()) == []
        return False
    for count in (3, 1):
        images = images_like(getattr(model, "encoder", model), count)
        expected = model.predict(images, verbose=0)
        found = run(format, path, images)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    return True


def can_export(format):
    """Return what the table of formats in the README says about this backend."""
    rows = re.findall(rf'^\| "{format}" .*$', README.read_text(), re.MULTILINE)
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    return cells[1 + ["tensorflow", "jax", "torch"].index(BACKEND)].startswith("yes")


@pytest.mark.parametrize("format", FORMATS)
def test_the_table_in_the_readme_says_what_can_be_exported(format, pretrained, tmp_path):
    needs(format)
    assert works(format, pretrained, tmp_path) == can_export(format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_classifier_is_exported_with_its_softmax(format, pretrained, labeled_images, tmp_path):
    needs(format)
    classifier = pretrained.fine_tune(*labeled_images, epochs=0, verbose=0)
    assert works(format, classifier, tmp_path, image_size=12) == can_export(format)


@pytest.mark.extras  # takes long
@pytest.mark.parametrize("format", SUFFIXES)
def test_a_selective_kernel_resnet_is_exported(format, tmp_path):
    from keras_simclr import ResNet

    needs(format)
    model = SimCLR(ResNet(18, sk_ratio=0.0625), seed=0)
    model.build((None, 12, 12, 3))
    is_exception = (BACKEND, format) == ("jax", "openvino")  # which the README names
    assert works(format, model, tmp_path) == (can_export(format) and not is_exception)


@pytest.fixture
def file(tmp_path):
    return tmp_path / f"exported{SUFFIXES[AVAILABLE]}"


def test_simclr_exports_its_encoder_at_the_size_of_its_views(pretrained, file, labeled_images):
    pretrained.export(file, AVAILABLE, verbose=False)
    found = run(AVAILABLE, file, labeled_images[0])
    expected = pretrained.predict(labeled_images[0], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_pixels_are_scaled_to_the_value_range_of_the_model(make_model, file):
    model = make_model(value_range=(-1, 1))
    model.build((None, 12, 12, 3))
    model.export(file, AVAILABLE, verbose=False)
    images = images_like(model.encoder, 2)
    expected = model.predict(images / 127.5 - 1, verbose=0)
    found = run(AVAILABLE, file, images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_range_of_a_resnet_is_found_in_its_encoder(file):
    model = SimCLR("resnet18", value_range=(-1, 1), seed=0)
    model.build((None, 12, 12, 3))
    export_model(model.encoder, file, AVAILABLE, image_size=12, verbose=False)
    images = images_like(model.encoder, 1)
    expected = model.predict(images / 127.5 - 1, verbose=0)
    found = run(AVAILABLE, file, images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", None])  # the default of `keras.Input`
def test_a_signature_gives_another_dtype_and_size(dtype, pretrained, file):
    spec = keras.InputSpec(shape=(None, 14, 10, 3), dtype=dtype)
    pretrained.export(file, AVAILABLE, verbose=False, input_signature=[spec])
    images = np.random.default_rng(0).uniform(0, 255, (2, 14, 10, 3)).astype("float32")
    expected = pretrained.predict(images, verbose=0)
    found = run(AVAILABLE, file, images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_former_export_is_replaced(pretrained, file, tmp_path):
    for _ in range(2):
        pretrained.export(file, AVAILABLE, verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_an_export_that_fails_leaves_the_former_one(pretrained, file, tmp_path, monkeypatch):
    pretrained.export(file, AVAILABLE, verbose=False)

    def fail(self, filepath, *args, **options):
        Path(filepath).write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(OSError, match="No space left"):
        export_model(pretrained.encoder, file, AVAILABLE, image_size=12)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert run(AVAILABLE, file, images_like(pretrained.encoder, 1)).shape == (1, 8)


def test_the_path_is_printed(pretrained, file, capsys):
    pretrained.export(file, AVAILABLE)
    assert f"Exported to {file}" in capsys.readouterr().out


REFUSED = {
    "an unknown format": ({"format": "pickle"}, "`format` must be one of"),
    "another suffix": ({"filepath": "encoder.h5"}, "`filepath` must end with"),
    "a missing folder": ({"filepath": f"missing/e{SUFFIXES['torch']}"}, "folder that exists"),
    "an unknown size": ({}, "Pass the `image_size`"),
    "other channels": (
        {"input_signature": keras.InputSpec(shape=(None, 12, 12, 1), dtype="uint8")},
        "do not fit the model",
    ),
    "a shape as the signature": (
        {"input_signature": (None, 12, 12, 3)},
        "`keras.InputSpec` with a",
    ),
    "no shape": ({"input_signature": keras.InputSpec(ndim=4)}, "`keras.InputSpec` with a shape"),
    "an inverted range": ({"value_range": (1, 0), "image_size": 12}, "must be \\(lower, upper\\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is(case, pretrained, tmp_path, monkeypatch):
    if case == "another suffix" and BACKEND != "torch":
        pytest.skip("a SavedModel is a folder of any name")
    monkeypatch.chdir(tmp_path)
    options, message = REFUSED[case]
    arguments = {"filepath": f"encoder{SUFFIXES[AVAILABLE]}", "format": AVAILABLE, **options}
    with pytest.raises(ValueError, match=message):
        export_model(pretrained.encoder, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_takes_no_images_is_refused(tmp_path):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must be a built Keras model"):
        export_model(network, tmp_path / "network", AVAILABLE)


def test_files_that_are_not_a_former_export_are_kept(pretrained, file):
    file.mkdir()
    (file / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="must be new, or the path of an earlier export"):
        pretrained.export(file, AVAILABLE)
    assert (file / "thesis.tex").exists()


def test_a_saved_model_with_other_files_is_kept(pretrained, file):
    file.mkdir()
    for name in ("saved_model.pb", "thesis.tex"):
        (file / name).write_text("years of work")
    with pytest.raises(ValueError, match="must be new, or the path of an earlier export"):
        pretrained.export(file, AVAILABLE)
    assert (file / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("others", [["net.bin"], ["net.xml"], ["net.xml", "net.bin"]])
def test_files_of_others_are_not_replaced_by_an_export_to_openvino(pretrained, others, tmp_path):
    pytest.importorskip("openvino")
    needs("openvino")
    for name in others:
        (tmp_path / name).write_text("<xml>years of work</xml>")
    with pytest.raises(ValueError, match="`filepath` must"):
        pretrained.export(tmp_path / "net.xml", "openvino")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        others, "<xml>years of work</xml>"
    )


@pytest.mark.extras
def test_a_former_export_to_openvino_is_replaced(pretrained, tmp_path):
    needs("openvino")
    for _ in range(2):
        pretrained.export(tmp_path / "net.xml", "openvino", verbose=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.xml"]


def test_a_classifier_knows_the_value_range_of_its_model(make_model, labeled_images, file):
    images, labels = labeled_images
    model = make_model(value_range=(-1, 1))
    model.build((None, 12, 12, 3))
    model.pretrained = True
    classifier = model.fine_tune(images / 127.5 - 1, labels, epochs=0, verbose=0)
    export_model(classifier, file, AVAILABLE, image_size=12, verbose=False)
    expected = classifier.predict(images / 127.5 - 1, verbose=0)
    np.testing.assert_allclose(run(AVAILABLE, file, images), expected, rtol=0, atol=1e-4)


def test_a_loaded_encoder_without_a_resnet_needs_its_value_range(pretrained, file, tmp_path):
    pretrained.encoder.save(tmp_path / "encoder.keras")
    encoder = keras.saving.load_model(tmp_path / "encoder.keras")
    with pytest.raises(ValueError, match="must be given, as the model does not state"):
        export_model(encoder, file, AVAILABLE, image_size=12)
    export_model(encoder, file, AVAILABLE, image_size=12, value_range=(0, 255), verbose=False)
    assert file.exists()


def test_another_value_range_than_that_of_the_model_is_refused(pretrained, file):
    with pytest.raises(ValueError, match=r"of the model. Received: value_range=\(0, 1\), expected"):
        export_model(pretrained.encoder, file, AVAILABLE, image_size=12, value_range=(0, 1))


def test_a_missing_package_is_named(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install \"keras-simclr\[export\]\""):
        pretrained.export(tmp_path / "encoder.onnx", "onnx")


def test_a_format_of_another_backend_names_what_works(pretrained, tmp_path):
    format, cure = {"torch": ("tf_saved_model", "tensorflow or jax")}.get(
        BACKEND, ("torch", "torch")
    )
    with pytest.raises(ValueError, match=f"'onnx'.* under KERAS_BACKEND={cure}"):
        pretrained.export(tmp_path / f"encoder{SUFFIXES[format]}", format)
