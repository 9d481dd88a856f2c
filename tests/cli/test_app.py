import contextlib
import csv
import html
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml
from keras import layers
from PIL import Image
from safetensors.numpy import save_file
from torchvision_names import random_resnet18
from typer.testing import CliRunner

import keras_simclr.models.simclr
from keras_simclr.cli.app import app
from keras_simclr.cli.pretraining import choose_settings

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]

NAMES = ["two words.png", "Ärger 猫.png", "line\nbreak.png", *(f"{i}.png" for i in range(29))]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of 64 images in two classes, with names of all kinds."""
    root, rng = tmp_path_factory.mktemp("data") / "images", np.random.default_rng(0)
    for value, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for name in NAMES:
            noise = rng.integers(0, 100, (12, 12, 3))
            noise[..., value] += 150
            Image.fromarray(noise.astype("uint8")).save(root / label / name)
    return root


@pytest.fixture(autouse=True, scope="module")
def small_network():
    """Let names of networks stand for a small one."""

    def make(name):
        seeded = keras.initializers.GlorotUniform(seed=0)
        convolution = layers.Conv2D(4, 3, strides=3, kernel_initializer=seeded)
        return keras.Sequential([layers.Rescaling(1 / 255), convolution])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_simclr.models.simclr, "resnet_by_name", make)
        yield


def call(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def result_of(*arguments):
    done = call(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    result_of("pretrain", images, "--out", out, "--epochs", 2)
    return out


@pytest.fixture(scope="module")
def classifier(run, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "classifier"
    result_of("fine-tune", run, images, "--out", out, "--epochs", 2, "--validation", images)
    return out


@pytest.mark.every_backend
def test_a_run_has_all_its_files_and_no_backup(run):
    names = "config.yaml encoder.keras history.csv history.png model.keras views.png"
    assert sorted(os.listdir(run)) == names.split()
    assert len((run / "history.csv").read_text().splitlines()) == 3


def test_what_was_chosen_is_in_the_config(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    chosen = {name: config[name] for name in ("image_size", "backbone", "batch_size", "seed")}
    assert chosen == {
        "image_size": [12, 12],
        "backbone": "resnet10_0.5x",
        "batch_size": 32,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("count", "side", "has_gpu", "backbone", "epochs"),
    [
        (10_000, 32, False, "resnet10_0.5x", 30),
        (10_000, 33, False, "resnet18", 10),
        (10_000, 32, True, "resnet18", 500),
        (50_000, 96, True, "resnet50", 200),
    ],
)
def test_the_network_suits_images_and_device(count, side, has_gpu, backbone, epochs):
    nothing = dict.fromkeys(("backbone", "batch_size", "epochs"))
    chosen = choose_settings((count, side, side, 3), has_gpu, nothing)
    assert chosen == {"backbone": backbone, "batch_size": 256, "epochs": epochs}


def test_how_to_choose_a_larger_network_is_printed(images, tmp_path):
    done = call("pretrain", images, "--out", tmp_path / "run", "--epochs", 1)
    assert "--backbone resnet18" in done.stderr and "10 times the time" in done.stderr


def test_the_same_command_finds_a_complete_run(run, images):
    before = (run / "model.keras").stat().st_mtime
    assert result_of("pretrain", images, "--out", run, "--epochs", 2)["complete"]
    assert (run / "model.keras").stat().st_mtime == before


def test_a_folder_with_another_run_is_refused(run, images):
    done = call("pretrain", images, "--out", run, "--epochs", 3)
    assert done.exit_code == 1 and "epochs=3 instead of 2" in done.stderr


def test_a_folder_with_other_files_is_refused(images):
    done = call("pretrain", images, "--out", images)
    assert done.exit_code == 1 and "must be new or empty" in done.stderr


def test_a_run_of_another_command_is_refused(run, images):
    done = call("predict", run, images, "--out", run / "a.csv")
    assert done.exit_code == 1 and "run of `fine-tune`" in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_run_is_resumed_by_the_same_command(images, tmp_path, monkeypatch):
    from keras_simclr.cli.progress import Progress

    def interrupt(self, epoch, logs=None):
        raise KeyboardInterrupt

    command = ("pretrain", images, "--out", tmp_path / "run", "--epochs", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_epoch_end", interrupt)
        assert call(*command).exit_code == 130
    assert not (tmp_path / "run" / "model.keras").exists()
    result_of(*command)
    result_of("pretrain", images, "--out", tmp_path / "whole", "--epochs", 2)
    one, other = (
        keras.saving.load_model(folder / "encoder.keras").get_weights()
        for folder in (tmp_path / "whole", tmp_path / "run")
    )
    for weight, its_weight in zip(one, other, strict=True):
        np.testing.assert_array_equal(weight, its_weight)


def test_a_config_repeats_a_run_but_for_the_options(run, tmp_path):
    command = ("pretrain", "--config", run / "config.yaml", "--out", tmp_path / "again")
    result_of(*command, "--epochs", 1)
    one, other = (
        yaml.safe_load((folder / "config.yaml").read_text()) for folder in (run, tmp_path / "again")
    )
    assert other == {**one, "epochs": 1}


@pytest.mark.parametrize("text", ["command: fine-tune", "[", "1"])
def test_a_file_that_is_no_config_is_wrong_usage(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    done = call("pretrain", "--config", tmp_path / "a.yaml", "--out", tmp_path / "a")
    assert done.exit_code == 2 and "a.yaml" in done.stderr


@pytest.mark.every_backend
def test_images_are_classified_with_their_names(classifier, images, tmp_path):
    result = result_of("predict", classifier, images, "--out", tmp_path / "new" / "p.csv")
    with open(tmp_path / "new" / "p.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "label", "cat", "dog"] and result["images"] == len(rows) == 64
    assert {row[0] for row in rows} == {f"{c}/{name}" for c in ("cat", "dog") for name in NAMES}
    assert np.mean([row[0].split("/")[0] == row[1] for row in rows]) > 0.9


def test_labels_come_from_a_csv_file(run, images, tmp_path):
    rows = [f"{images / label / name},{label}" for label in ("cat", "dog") for name in NAMES[3:9]]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    result = result_of(
        "fine-tune", run, tmp_path / "labels.csv", "--out", tmp_path / "c", "--epochs", 1
    )
    assert result["labels"] == 12 and result["classes"] == 2


def test_a_wrong_file_of_labels_leaves_nothing_behind(run, tmp_path):
    (tmp_path / "labels.csv").write_text("none.png,cat\n")
    done = call("fine-tune", run, tmp_path / "labels.csv", "--out", tmp_path / "c")
    assert done.exit_code == 1 and "'none.png' does not exist" in done.stderr
    assert os.listdir(tmp_path) == ["labels.csv"]


def read_features(path):
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        return table["path"].to_pylist(), np.array(table["features"].to_pylist())
    if path.suffix == ".npy":
        return json.loads(path.with_suffix(".paths.json").read_text()), np.load(path)
    with open(path, newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [row[0] for row in rows], np.array([row[1:] for row in rows], float)


@pytest.mark.parametrize("ending", ["parquet", "npy", "csv"])
def test_features_are_written_with_their_names(run, images, tmp_path, ending):
    result_of("embed", run, images, "--out", tmp_path / f"f.{ending}")
    paths, features = read_features(tmp_path / f"f.{ending}")
    encoder = keras.saving.load_model(run / "encoder.keras")
    pixels = np.stack([np.asarray(Image.open(images / path)) for path in paths])
    np.testing.assert_allclose(features, encoder.predict(pixels, verbose=0), rtol=1e-4, atol=1e-5)


def test_deep_images_keep_the_white_of_pretraining(tmp_path, rng):
    """A dark image is not brightened because its own folder has nothing brighter."""
    pixels = rng.integers(0, 4000, (16, 12, 12)).astype("uint16")
    pixels[0, 0, 0] = 4000
    pixels[8:] //= 20
    for part, some in (("all", pixels), ("dark", pixels[8:])):
        (tmp_path / part).mkdir()
        for number, image in enumerate(some):
            Image.fromarray(image).save(tmp_path / part / f"{number:02}.png")
    result_of("pretrain", tmp_path / "all", "--out", tmp_path / "run", "--epochs", 1)
    result_of("embed", tmp_path / "run", tmp_path / "dark", "--out", tmp_path / "f.npy")
    encoder = keras.saving.load_model(tmp_path / "run" / "encoder.keras")
    expected = encoder.predict(pixels[8:, ..., None] * np.float32(255 / 4095), verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), expected, rtol=1e-4, atol=1e-5)


def test_features_in_an_unknown_format_are_refused_before_any_work(run, images, tmp_path):
    done = call("embed", run, images, "--out", tmp_path / "f.txt")
    assert done.exit_code == 1 and "'.parquet', '.npy', '.csv'" in done.stderr


@pytest.mark.every_backend
@pytest.mark.parametrize("with_test", [False, True])
def test_features_are_evaluated(run, images, with_test):
    options = ["--test", images] if with_test else []
    result = result_of("evaluate", run, images, *options)
    assert result["test_images"] == (64 if with_test else 13)
    assert result["linear_accuracy"] > 0.9 and result["knn_accuracy"] > 0.8


def test_few_labels_are_tried_and_shown_in_the_report(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_simclr.cli.label_efficiency.STEPS", 3)
    copied = shutil.copytree(run, tmp_path / "run")
    done = call("evaluate", copied, images, "--label-efficiency")
    assert "21 trainings of 3 steps" in done.stderr and "all (51)" in done.stdout
    measured = json.loads((copied / "label_efficiency.json").read_text())
    assert list(measured["accuracies"]) == ["fine-tuned", "linear probe", "from scratch"]
    assert list(measured["names"]) == ["2", "5", "51"]
    result_of("report", copied, "--out", tmp_path / "a.html")
    page = html.unescape((tmp_path / "a.html").read_text())
    assert "Accuracy with few labels" in page and "all (51)" in page


def test_too_few_labels_to_evaluate_on_are_refused(run, images, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes((images / label / "1.png").read_bytes())
    done = call("evaluate", run, tmp_path)
    assert done.exit_code == 1 and "--test" in done.stderr


def test_views_are_drawn(images, tmp_path):
    assert result_of("views", images, "--out", tmp_path / "v.png", "--count", 3)["images"] == 3
    with Image.open(tmp_path / "v.png") as figure:
        assert figure.width > 500


def test_a_report_shows_the_images_of_its_run(run, tmp_path):
    out = tmp_path / "pages" / "a.html"
    assert result_of("report", run, "--out", out)["images"] == 64
    text = html.unescape(out.read_text())
    assert "SimCLR run run" in text and "The loss ended at" in text
    assert "cat/Ärger 猫.png" in text
    assert "The nearest neighbors predict the class of" not in text


def test_a_report_on_labeled_images_names_their_classes(run, images, tmp_path):
    out = tmp_path / "a.html"
    result_of("report", run, "--labeled", images, "--out", out, "--max-images", 40)
    text = html.unescape(out.read_text())
    assert text.count("<circle") == 40
    assert text.count('data-text="dog: dog/') == 20
    assert "The nearest neighbors predict the class of" in text


def test_a_report_gives_images_their_own_labels_where_files_are_broken(run, images, tmp_path):
    labeled = shutil.copytree(images, tmp_path / "labeled")
    (labeled / "cat" / "5.png").write_bytes(b"")
    assert result_of("report", run, "--labeled", labeled, "--out", tmp_path / "a.html")
    text = html.unescape((tmp_path / "a.html").read_text())
    assert text.count('data-text="cat: cat/') == 31
    assert text.count('data-text="dog: dog/') == 32


def test_a_folder_without_a_run_has_no_report(tmp_path):
    done = call("report", tmp_path)
    assert done.exit_code == 1 and "no run of `pretrain`" in done.stderr


def test_a_checkpoint_of_another_project_becomes_a_model(tmp_path):
    save_file(random_resnet18(np.random.default_rng(0)), tmp_path / "net.safetensors")
    out = tmp_path / "models" / "net.keras"
    result_of("import", tmp_path / "net.safetensors", "--out", out, "--allow-supervised")
    features = keras.saving.load_model(out).predict(np.zeros((2, 32, 32, 3)), verbose=0)
    assert features.shape == (2, 512)


def test_an_unknown_checkpoint_is_an_error_in_words(tmp_path):
    done = call("import", "resnet51", "--out", tmp_path / "model.keras")
    assert done.exit_code == 1 and "resnet51" in done.stderr
    assert not list(tmp_path.iterdir())


def test_results_are_readable_without_json(run, images):
    done = call("evaluate", run, images)
    assert "linear accuracy: " in done.stdout and "{" not in done.stdout


def test_broken_files_are_named_in_the_result(run, images, tmp_path):
    for index in range(12):
        (tmp_path / f"{index}.png").write_bytes((images / "cat" / f"{index}.png").read_bytes())
    (tmp_path / "zero.png").write_bytes(b"")
    result = result_of("embed", run, tmp_path, "--out", tmp_path / "f.npy")
    assert result["broken"] == [str(tmp_path / "zero.png")] and result["images"] == 12


@pytest.mark.parametrize("count", [0, 1])
def test_folders_with_too_few_images_are_refused_in_words(images, tmp_path, count):
    (tmp_path / "a").mkdir()
    if count:
        (tmp_path / "a" / "1.png").write_bytes((images / "cat" / "1.png").read_bytes())
    done = call("pretrain", tmp_path / "a", "--out", tmp_path / "run")
    words = "at least 2 images" if count else "no images"
    assert done.exit_code == 1 and words in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["pretrain", "a"], ["nonsense"], ["pretrain", "a", "--out", "b", "--epochs", "0"]]
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "name", "pretrain fine-tune predict embed evaluate views report import".split()
)
def test_each_command_has_help(name):
    done = call(name, "--help")
    assert done.exit_code == 0 and "--json" in done.stdout


@contextlib.contextmanager
def full_disk():
    """Let no file become larger than 1000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", ["embed", "predict"])
@pytest.mark.parametrize("ending", ["csv", "npy", "parquet"])
def test_a_full_disk_is_an_error_that_leaves_the_old_files(
    run, classifier, images, tmp_path, command, ending
):
    if command == "predict" and ending != "csv":
        pytest.skip("`predict` writes CSV files only")
    old = {f"f.{ending}": "old", "f.paths.json": "old too"}
    for name, text in old.items():
        (tmp_path / name).write_text(text)
    source = run if command == "embed" else classifier
    with full_disk():
        done = call(command, source, images, "--out", tmp_path / f"f.{ending}")
    assert done.exit_code == 1 and "File too large" in done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == old


def test_a_full_disk_ends_pretraining_before_the_first_step(images, tmp_path):
    with full_disk():
        done = call("pretrain", images, "--out", tmp_path / "run", "--epochs", 1)
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "model.keras").exists()


def test_names_of_features_stay_the_old_ones_if_the_features_do_not_fit(run, images, tmp_path):
    (tmp_path / "f.paths.json").write_text("old")
    few = tmp_path / "few"
    few.mkdir()
    for number in range(63):  # whose names fit into 1000 bytes, unlike their 4 features each
        (few / f"{number}.png").write_bytes((images / "cat" / "1.png").read_bytes())
    with full_disk():
        done = call("embed", run, few, "--out", tmp_path / "f.npy")
    assert done.exit_code == 1 and (tmp_path / "f.paths.json").read_text() == "old"
    assert not (tmp_path / "f.npy").exists()


def test_help_loads_no_framework():
    code = (
        "import runpy, sys; sys.orig_argv[1:] = ['-m', 'keras_simclr', '--help']\n"
        "sys.argv = ['keras-simclr', '--help']\n"
        "try: runpy.run_module('keras_simclr', run_name='__main__')\n"
        "except SystemExit as done: print(done.code, 'keras' in sys.modules)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 False\n") and "pretrain" in done.stdout
    assert time.monotonic() - began < 10


def test_without_typer_the_extra_is_named():
    code = "import sys; sys.modules['typer'] = None; sys.argv[0] = 'keras-simclr'\n"
    code += "from keras_simclr.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and 'pip install "keras-simclr[cli]"' in done.stderr
