"""Pretrain on STL-10's 100,000 unlabelled pictures, then classify its ten classes.

    python examples/stl10.py --data-dir DATA --download --mixed-precision
    python examples/stl10.py --smoke    # made pictures, one to two minutes on two CPU cores

Stopped or killed, the same command goes on after the last epoch that was done. Once pretraining is
through, model.keras is there and the same command only evaluates it; delete it to begin anew.

The defaults are ResNet-18, 100 epochs and batches of 256, and want a GPU. Linear evaluation on all
5,000 labels is published by others at 75 to 77 % for ResNet-18 and 77 to 83 % for ResNet-50 after
100 epochs. The output folder gets model.keras, results.json, history.csv, and two pictures.
"""

import argparse
import csv
import json
import os
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
from made_stl10 import write_stl10

from keras_simclr import SimCLR
from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.datasets import load_stl10
from keras_simclr.evaluation import knn_accuracy, linear_probe
from keras_simclr.layers import CenterCrop
from keras_simclr.plotting import plot_history, plot_views

FOLDS = 10
NEIGHBOURS = 200
BLOCK = 256  # pictures prepared at a time
SMOKE = {"epochs": 2, "batch_size": 10, "image_size": 36, "fine_tune_epochs": 1}
SMOKE_PICTURES = {"unlabeled": 20, "train": 50, "test": 20}


def arguments():
    """Return the command line's options; with `--smoke` some have other defaults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="resnet18", help="resnet18, 34, 50, 101, 152 or 200")
    parser.add_argument("--epochs", type=int, default=100, help="of pretraining")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=96, help="of the views, in pixels")
    parser.add_argument("--fine-tune-epochs", type=int, help="default: the package's own")
    parser.add_argument(
        "--center-crop", action="store_true", help="evaluate on the authors' crop (above 32 pixels)"
    )
    parser.add_argument("--data-dir", type=Path, help="folder that holds, or gets, stl10_binary/")
    parser.add_argument("--download", action="store_true", help="2.6 GB, if they are not there")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16, for newer GPUs")
    parser.add_argument("--output", type=Path, default=Path("runs/stl10"))
    parser.add_argument("--smoke", action="store_true", help="try everything on made pictures")
    if parser.parse_args().smoke:
        parser.set_defaults(**SMOKE, output=Path("runs/stl10-smoke"))
    return parser.parse_args()


def write_whole(path, write):
    """Let `write` make a file, which takes its name only when it is complete."""
    beside = path.with_stem(f"{path.stem}.part")
    write(beside)
    os.replace(beside, path)


def pretrain(args, pictures):
    """Return a model that was fitted to the pictures, from the last backup if there is one."""
    backup, log = args.output / "backup", args.output / "history.csv"
    if backup.exists():
        print(f"{backup} is there: going on after the last epoch that was done.")
    else:
        log.unlink(missing_ok=True)
    model = SimCLR(args.backbone, image_size=args.image_size, seed=0)
    callbacks = [
        keras.callbacks.CSVLogger(log, append=True),
        BackupAndRestore(backup, delete_checkpoint=False),  # kept until the model is saved
    ]
    model.fit(
        pictures, epochs=args.epochs, batch_size=args.batch_size, callbacks=callbacks, verbose=2
    )
    return model


def pretrained_model(args, pictures):
    """Return the model of this output folder, pretrained now if it is not there."""
    path = args.output / "model.keras"
    if path.exists():
        print(f"{path} is there: pretraining is done. Delete it to begin anew.")
        model = keras.models.load_model(path)
    else:
        model = pretrain(args, pictures)
        write_whole(path, model.save)
    shutil.rmtree(args.output / "backup", ignore_errors=True)
    return model


def logged_history(path):
    """Return {name: values}, one value an epoch: the last, if an epoch was done again."""
    with open(path, newline="") as file:
        rows = {int(row.pop("epoch")): row for row in csv.DictReader(file)}
    rows = [rows[epoch] for epoch in sorted(rows)]
    return {
        name: [float(row[name]) for row in rows]
        for name in rows[0]
        if not name.startswith("val_")  # columns that the logger adds
    }


def prepared(args, images):
    """Return pictures as evaluation looks at them: resized, or the authors' crop. uint8."""
    whole = {} if args.center_crop and args.image_size > 32 else {"proportion": 1.0}
    crop = CenterCrop(args.image_size, **whole)
    blocks = (np.array(images[i : i + BLOCK]) for i in range(0, len(images), BLOCK))
    made = [keras.ops.convert_to_numpy(crop(block)) for block in blocks]
    return np.rint(np.concatenate(made)).astype("uint8")


def evaluate(args, model):
    """Return the accuracies on the test pictures, by the protocol of STL-10 and with all labels."""

    def embed(images):
        return model.predict(prepared(args, images), batch_size=args.batch_size, verbose=0)

    train, train_labels = load_stl10("train", args.data_dir)
    test, test_labels = load_stl10("test", args.data_dir)
    features, test_features = embed(train), embed(test)

    def probe(features, labels):
        return linear_probe(features, labels).score(test_features, test_labels)

    neighbours = knn_accuracy(features, train_labels, test_features, test_labels, k=NEIGHBOURS)
    folds = [load_stl10("train", args.data_dir, fold=fold) for fold in range(FOLDS)]
    of_folds = [probe(embed(images), labels) for images, labels in folds]
    classifier = model.fine_tune(train, train_labels, epochs=args.fine_tune_epochs, verbose=2)
    tested = classifier.evaluate(prepared(args, test), test_labels, verbose=0, return_dict=True)
    return {
        "knn_all_labels": neighbours,
        "linear_all_labels": probe(features, train_labels),
        "linear_ten_folds": {
            "mean": np.mean(of_folds),
            "standard_error": np.std(of_folds, ddof=1) / np.sqrt(FOLDS),
            "folds": of_folds,
        },
        "fine_tuned_all_labels": tested["accuracy"],
        "labels": len(train_labels),
        "labels_a_fold": len(folds[0][1]),
    }


def report(accuracy):
    """Print which accuracy was reached with which labels."""
    all_labels, folds = f"all {accuracy['labels']:,} labels", accuracy["linear_ten_folds"]
    a_fold = f"ten folds of {accuracy['labels_a_fold']:,} labels"
    print("\nAccuracy on the test pictures")
    print(f"  kNN (k={NEIGHBOURS}), {all_labels}: {accuracy['knn_all_labels']:.1%}")
    print(f"  linear probe, {all_labels}: {accuracy['linear_all_labels']:.1%}")
    print(f"  linear probe, {a_fold}: {folds['mean']:.1%} ± {folds['standard_error']:.1%} (s.e.)")
    print(f"  fine-tuned, {all_labels}: {accuracy['fine_tuned_all_labels']:.1%}")


def run(args):
    """Pretrain or go on, evaluate, and write what came out."""
    args.output.mkdir(parents=True, exist_ok=True)
    pictures, _ = load_stl10("unlabeled", args.data_dir, args.download)
    model = pretrained_model(args, pictures)
    history = logged_history(args.output / "history.csv")
    for name, figure in (
        ("history", plot_history(history)),
        ("views", plot_views(model.augmenter, np.array(pictures[:6]))),
    ):
        write_whole(args.output / f"{name}.png", figure.savefig)
    accuracy = evaluate(args, model)
    report(accuracy)
    results = {
        "settings": {**vars(args), "backend": keras.backend.backend()},
        "pretraining": {name: values[-1] for name, values in history.items()},
        "accuracy": accuracy,
    }
    text = json.dumps(results, indent=2, default=str)
    write_whole(args.output / "results.json", lambda path: path.write_text(text + "\n"))
    print(f"Wrote {args.output / 'results.json'}")


def main():
    """Run on STL-10, or with `--smoke` on made pictures in its format."""
    args = arguments()
    if args.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    if not args.smoke:
        return run(args)
    with tempfile.TemporaryDirectory() as args.data_dir:
        write_stl10(Path(args.data_dir) / "stl10_binary", **SMOKE_PICTURES)
        run(args)


if __name__ == "__main__":
    main()
