"""Load damaged files for a while, and fail on any error that is not one for a damaged file.

    KERAS_BACKEND=torch python tests/faults/fuzz_loaders.py [SECONDS [LOADER ...]]

SECONDS are for each of the loaders, by default all. Files inside zip archives are damaged with
right checksums around them, and values in JSON are replaced by others.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from keras_simclr import SimCLR
from keras_simclr.callbacks.backup_file import read_backup, write_backup
from keras_simclr.checkpoints import load_arrays
from keras_simclr.datasets import image_folder, load_stl10

LIMIT = 60  # seconds for one file
FORMATS = ("png", "jpg", "tif", "webp", "gif", "bmp")


class TooSlow(BaseException):
    """A file that takes more than `LIMIT` seconds."""


def write_stl10(folder):
    """Write two images, their labels and the folds."""
    data = folder / "stl10_binary"
    data.mkdir()
    (data / "train_X.bin").write_bytes(bytes(2 * 27648))
    (data / "train_y.bin").write_bytes(bytes([1, 2]))
    (data / "fold_indices.txt").write_text("0 1\n" * 10)


def read_stl10(folder):
    """Read the split and one of its folds."""
    load_stl10("train", folder)
    load_stl10("train", folder, fold=3)


def write_safetensors(folder):
    """Write two arrays."""
    from safetensors.numpy import save_file

    arrays = {"conv1.weight": np.ones((4, 3, 3, 3), "float32"), "fc.bias": np.zeros(5, "float16")}
    save_file(arrays, folder / "weights.safetensors")


def write_torch(folder):
    """Write a nested checkpoint."""
    import torch

    state = {"state_dict": {"conv1.weight": torch.ones(4, 3, 3, 3)}, "epoch": 3, "names": ["a"]}
    torch.save(state, folder / "weights.pt")


def write_tensorflow(folder):
    """Write a checkpoint of TensorFlow 2."""
    import tensorflow as tf

    variable = tf.Variable(np.ones((4, 5), "float32"))
    tf.train.Checkpoint(layer=tf.train.Checkpoint(kernel=variable)).write(str(folder / "model"))


def write_keras(folder):
    """Write a small pretrained model."""
    backbone = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3)])
    model = SimCLR(backbone, temperature=0.2, seed=0)
    model.build((None, 8, 8, 3))
    model.save(folder / "model.keras")


def write_preset(folder):
    """Write the same model as a preset."""
    write_keras(folder)
    SimCLR.from_preset(folder / "model.keras").save_to_preset(folder / "preset")
    (folder / "model.keras").unlink()


def write_saved_run(folder):
    """Write a backup."""
    write_backup(folder / "x.backup", {"a": np.ones((2, 3)), "b": np.zeros(2)}, {"epoch": 3})


def write_images(folder):
    """Write an image in each format, and one that stays whole."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype("uint8")
    for suffix in FORMATS:
        Image.fromarray(pixels).save(folder / f"image.{suffix}")
    Image.fromarray(pixels.astype("uint16")[..., 0] * 200).save(folder / "gray.png")


def read_images(folder):
    """Read all images that can be read."""
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = image_folder(folder, 8, labels=None, max_broken=1.0)
        for index in range(len(dataset)):
            dataset[index]


def write_labels(folder):
    """Write a file of labels and its images."""
    for name in ("a", "b"):
        Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text('path,label\na.png,cat\n"b.png","a, dog"\n')


def read_labels(folder):
    """Read the images of a file of labels."""
    with contextlib.redirect_stdout(io.StringIO()):
        image_folder(folder, 8, labels=folder / "labels.csv")


LOADERS = {
    "stl10": (write_stl10, read_stl10, "*/*"),
    "safetensors": (write_safetensors, lambda folder: load_arrays(folder / "weights.safetensors")),
    "torch": (write_torch, lambda folder: load_arrays(folder / "weights.pt")),
    "tensorflow": (write_tensorflow, lambda folder: load_arrays(folder / "model")),
    "keras": (write_keras, lambda folder: SimCLR.from_preset(folder / "model.keras")),
    "preset": (write_preset, lambda folder: SimCLR.from_preset(folder / "preset"), "preset/*"),
    "backup": (write_saved_run, lambda folder: read_backup(folder / "x.backup")),
    "images": (write_images, read_images),
    "labels": (write_labels, read_labels, "labels.csv"),
}
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "remove", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
VALUES = st.sampled_from(
    [None, True, -1, 0, 10**30, 1e300, float("nan"), "", "os", "\0", "../x", [], [1], {}, {"a": 1}]
)


def edited(content, edits):
    """Return bytes after edits."""
    content = bytearray(content)
    for kind, where, given_bytes in edits:
        at, count = int(where * len(content)), len(given_bytes)
        if kind == "flip":
            content[at : at + count] = given_bytes
        elif kind == "cut":
            del content[at:]
        elif kind == "insert":
            content[at:at] = given_bytes
        elif kind == "remove":
            del content[at : at + count]
        else:
            content[at:at] = content[at : at + 16 * count]
    return bytes(content)


def places(value, path=()):
    """Return the paths of all values inside a JSON value."""
    if not isinstance(value, (dict, list)):
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        yield from places(part, (*path, key))


def with_other_value(text, where, value):
    """Return JSON in which one value is replaced."""
    whole = json.loads(text)
    *path, last = list(places(whole))[int(where * len(list(places(whole))))]
    parent = whole
    for key in path:
        parent = parent[key]
    parent[last] = value
    return json.dumps(whole).encode()


def damage(data, path):
    """Damage a file, one in it if it is a zip archive, or a value of JSON."""
    if zipfile.is_zipfile(path) and data.draw(st.integers(0, 3)):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = data.draw(st.sampled_from(sorted(members)))
        members[name] = damaged(data, name, members[name])
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    path.write_bytes(damaged(data, path.name, path.read_bytes()))


def damaged(data, name, content):
    """Return the damaged content of a file."""
    if name.endswith(".json") and data.draw(st.integers(0, 3)):
        return with_other_value(
            content, data.draw(st.floats(0, 1, exclude_max=True)), data.draw(VALUES)
        )
    return edited(content, data.draw(EDITS))


def stop(number, frame):
    """End a file that takes too long."""
    raise TooSlow


def fuzz(name, seconds):
    """Damage the files of a loader for some seconds; return how many were loaded and refused."""
    write, read, pattern = (*LOADERS[name], "*")[:3]
    counts = {"loaded": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as root:
        whole, folder = Path(root, "whole"), Path(root, "damaged")
        whole.mkdir()
        write(whole)
        read(whole)

        def check(data):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            damage(data, data.draw(st.sampled_from(sorted(folder.glob(pattern)))))
            signal.alarm(LIMIT)
            try:
                read(folder)
                counts["loaded"] += 1
            except (ValueError, FileNotFoundError):
                counts["refused"] += 1
            finally:
                signal.alarm(0)

        options = settings(
            max_examples=50,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            seed(number)(options(given(st.data())(check)))()
            number += 1
    return counts


def main(seconds, names):
    """Fuzz the loaders one after the other."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, stop)
    failed = []
    for name in names:
        try:
            print(name, fuzz(name, seconds), flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print("wrong errors:", failed or "none")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60, sys.argv[2:] or list(LOADERS)))
