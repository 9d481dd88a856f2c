"""`keras-simclr embed` and `evaluate`."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_simclr.cli.classifying import write_csv
from keras_simclr.cli.label_efficiency import measure, read_labeled_sample
from keras_simclr.cli.runs import (
    load_model,
    read_as_before,
    read_config,
    read_labeled,
    write_results,
)
from keras_simclr.evaluation import knn_accuracy, linear_probe
from keras_simclr.validation import check_choice

FORMATS = (".parquet", ".npy", ".csv")
TEST_FRACTION = 0.2


def run_embedding(run: Path, images: Path, out: Path, max_broken: float) -> dict[str, Any]:
    """Write the features of images; return where they are and their shape."""
    check_choice("ending of --out", out.suffix, FORMATS)
    config = read_config(run, "pretrain")
    encoder = load_model(run, "encoder")
    folder = read_as_before(images, config, max_broken)
    features = encoder.predict(folder, verbose=0)
    paths = folder.relative_paths
    if out.suffix == ".parquet":
        write_results(out, lambda path: _write_parquet(path, paths, features))
    elif out.suffix == ".csv":
        header = ["path", *(f"h{index}" for index in range(features.shape[1]))]
        rows = ([path, *map(repr, row.tolist())] for path, row in zip(paths, features, strict=True))
        write_results(out, lambda path: write_csv(path, header, rows))
    else:
        names = out.with_suffix(".paths.json")
        write_results(names, lambda path: _write_two(path, paths, out, features))
    count, dimensions = features.shape
    return {
        "features": str(out),
        "images": count,
        "dimensions": dimensions,
        "broken": list(folder.broken),
    }


def run_evaluation(
    run: Path,
    labeled: Path,
    test: Path | None,
    with_few_labels: bool,
    seed: int,
    max_broken: float,
) -> dict[str, Any]:
    """Return the accuracy of nearest neighbors and of a linear probe on the features of a run."""
    config = read_config(run, "pretrain")
    encoder = load_model(run, "encoder")
    folder = read_labeled(labeled, config, max_broken)
    features = encoder.predict(folder, verbose=0)
    others = None
    if test is None:
        data = _split(features, folder.labels, seed)
    else:
        others = read_labeled(test, config, max_broken, class_names=folder.class_names)
        data = (features, folder.labels, encoder.predict(others, verbose=0), others.labels)
    train_x, train_y, test_x, test_y = data
    result = {
        "train_images": len(train_x),
        "test_images": len(test_x),
        "classes": len(folder.class_names),
        "knn_accuracy": float(knn_accuracy(train_x, train_y, test_x, test_y)),
        "linear_accuracy": float(linear_probe(train_x, train_y).score(test_x, test_y)),
    }
    if with_few_labels:
        result["label_efficiency"] = _with_few_labels(run, folder, others, seed)
    return result


def _with_few_labels(run, folder, others, seed):
    images, labels = read_labeled_sample(folder)
    if others is None:
        images, labels, *test = _split(images, labels, seed)
    else:
        test = read_labeled_sample(others)
    return measure(run, load_model(run, "model"), (images, labels), tuple(test), seed)


def _split(features, labels, seed):
    """Return features and labels to train on and to test on, a fifth of each class."""
    from sklearn.model_selection import train_test_split

    rarest = np.bincount(labels).min()
    if rarest < 2 or len(labels) * TEST_FRACTION < labels.max() + 1:
        raise ValueError(
            "There are too few labels to hold back a fifth. Received: "
            f"{len(labels)} labels, {rarest} of the rarest of {labels.max() + 1} classes. Pass "
            "images to test on with --test."
        )
    train_x, test_x, train_y, test_y = train_test_split(
        features, labels, test_size=TEST_FRACTION, random_state=seed, stratify=labels
    )
    return train_x, train_y, test_x, test_y


def _write_parquet(path, paths, features):
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            'Parquet files need PyArrow: pip install "keras-simclr[cli]". Or write .npy or .csv.'
        ) from error
    flat = pyarrow.array(np.ascontiguousarray(features, "float32").reshape(-1))
    columns = {
        "path": [os.fsencode(name).decode("utf-8", "replace") for name in paths],
        "features": pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1]),
    }
    parquet.write_table(pyarrow.table(columns), path)


def _write_npy(path, array):
    """Do what `numpy.save` does, but notice if the disk is full when the last bytes are written."""
    header = np.lib.format.header_data_from_array_1_0(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.tobytes())


def _write_two(path_of_names, names, out, features):
    """Write names and features, so that neither is in place before both are complete."""
    path_of_names.write_text(json.dumps(names), "utf-8")
    write_results(out, lambda path: _write_npy(path, features))
