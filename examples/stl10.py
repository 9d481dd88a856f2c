"""Pretrain on STL-10's 100,000 unlabeled images, then classify its ten classes.

    python examples/stl10.py --data-dir DATA --download --mixed-precision
    python examples/stl10.py --smoke    # synthetic images, one to two minutes on two CPU cores

The defaults, ResNet-18, 100 epochs and batches of 256, need a GPU, and have not been measured.
`--smoke` only shows that everything runs; expect 40 to 50 % from the linear probe on its 50 labels,
measured on 20 images.

A run that was stopped or killed resumes from its last backup when the same command is given again.
Once model.keras exists, the command only evaluates it; delete it to start over. The output folder
holds model.keras, results.json, history.csv and two figures.
"""

import argparse
import json
import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

# Before TensorFlow is imported: less text, and faster convolutions on any CPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
from made_stl10 import write_stl10

from keras_simclr import SimCLR
from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.datasets import load_stl10
from keras_simclr.evaluation import knn_accuracy, linear_probe
from keras_simclr.layers import CenterCropAndResize
from keras_simclr.plotting import load_history, plot_history, plot_views

FOLDS = 10
NEIGHBORS = 200
CHUNK_SIZE = 256  # images resized at a time
SMOKE = {"epochs": 2, "batch_size": 10, "image_size": 36, "fine_tune_epochs": 1}
SMOKE_IMAGES = {"unlabeled": 20, "train": 50, "test": 20}


def arguments():
    """Return the options of the command line. `--smoke` changes some defaults."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backbone", default="resnet18", help="resnet18, 34, 50, 101, 152 or 200")
    parser.add_argument("--epochs", type=int, default=100, help="of pretraining")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--image-size", type=int, default=96, help="size of the views in pixels")
    parser.add_argument("--fine-tune-epochs", type=int, help="default: that of `fine_tune`")
    parser.add_argument(
        "--center-crop", action="store_true", help="evaluate on the authors' center crops"
    )
    parser.add_argument("--data-dir", type=Path, help="folder of stl10_binary/")
    parser.add_argument("--download", action="store_true", help="of 2.6 GB, if missing")
    parser.add_argument("--mixed-precision", action="store_true", help="bfloat16, for recent GPUs")
    parser.add_argument("--output", type=Path, default=Path("runs/stl10"))
    parser.add_argument("--smoke", action="store_true", help="try everything on synthetic images")
    if parser.parse_args().smoke:
        parser.set_defaults(**SMOKE, output=Path("runs/stl10-smoke"))
    return parser.parse_args()


def write_atomically(path, write):
    """Write a file with `write(path)` under another name, then rename it."""
    unfinished = path.with_stem(f"{path.stem}.part")
    write(unfinished)
    os.replace(unfinished, path)


def pretrain(args, images):
    """Fit a model to the images, from the last backup if there is one."""
    backup, log = args.output / "backup", args.output / "history.csv"
    if backup.exists():
        print(f"Resuming from {backup}.")
    model = SimCLR(args.backbone, image_size=args.image_size, seed=0)
    callbacks = [
        keras.callbacks.CSVLogger(log),  # appended to if the run is resumed
        # Kept until the model is saved.
        BackupAndRestore(backup, save_freq=timedelta(minutes=10), delete_checkpoint=False),
    ]
    model.fit(
        images, epochs=args.epochs, batch_size=args.batch_size, callbacks=callbacks, verbose=2
    )
    return model


def pretrained_model(args, images):
    """Load the model of the output folder, or pretrain it if it does not exist."""
    path = args.output / "model.keras"
    if path.exists():
        print(f"{path} exists: pretraining is done. Delete it to start over.")
        model = keras.models.load_model(path)
    else:
        model = pretrain(args, images)
        write_atomically(path, model.save)
    shutil.rmtree(args.output / "backup", ignore_errors=True)
    return model


def resize(args, images):
    """Return images as uint8, resized, or center-cropped as the authors do."""
    whole = {} if args.center_crop and args.image_size > 32 else {"proportion": 1.0}
    crop = CenterCropAndResize(args.image_size, **whole)
    starts = range(0, len(images), CHUNK_SIZE)
    chunks = [crop(np.array(images[start : start + CHUNK_SIZE])) for start in starts]
    resized = np.concatenate([keras.ops.convert_to_numpy(chunk) for chunk in chunks])
    return np.rint(resized).astype("uint8")


def evaluate(args, model):
    """Return the accuracies on the test images, on STL-10's ten folds and on all labels."""

    def embed(images):
        return model.predict(resize(args, images), batch_size=args.batch_size, verbose=0)

    train, train_labels = load_stl10("train", args.data_dir)
    test, test_labels = load_stl10("test", args.data_dir)
    features, test_features = embed(train), embed(test)

    def probe(features, labels):
        return linear_probe(features, labels).score(test_features, test_labels)

    knn = knn_accuracy(features, train_labels, test_features, test_labels, k=NEIGHBORS)
    folds = [load_stl10("train", args.data_dir, fold=fold) for fold in range(FOLDS)]
    of_folds = [probe(embed(images), labels) for images, labels in folds]
    classifier = model.fine_tune(train, train_labels, epochs=args.fine_tune_epochs, verbose=2)
    tested = classifier.evaluate(resize(args, test), test_labels, verbose=0, return_dict=True)
    return {
        "knn_all_labels": knn,
        "linear_all_labels": probe(features, train_labels),
        "linear_ten_folds": {
            "mean": np.mean(of_folds),
            "standard_error": np.std(of_folds, ddof=1) / np.sqrt(FOLDS),
            "folds": of_folds,
        },
        "fine_tuned_all_labels": tested["accuracy"],
        "labels": len(train_labels),
        "labels_per_fold": len(folds[0][1]),
    }


def report(accuracy):
    """Print the accuracies."""
    all_labels, folds = f"all {accuracy['labels']:,} labels", accuracy["linear_ten_folds"]
    ten_folds = f"ten folds of {accuracy['labels_per_fold']:,} labels"
    mean, error = folds["mean"], folds["standard_error"]
    print("\nAccuracy on the test images")
    print(f"  kNN (k={NEIGHBORS}), {all_labels}: {accuracy['knn_all_labels']:.1%}")
    print(f"  linear probe, {all_labels}: {accuracy['linear_all_labels']:.1%}")
    print(f"  linear probe, {ten_folds}: {mean:.1%} ± {error:.1%} (s.e.)")
    print(f"  fine-tuned, {all_labels}: {accuracy['fine_tuned_all_labels']:.1%}")


def run(args):
    """Pretrain or resume, evaluate, and write the results."""
    args.output.mkdir(parents=True, exist_ok=True)
    images, _ = load_stl10("unlabeled", args.data_dir, args.download)
    model = pretrained_model(args, images)
    history = load_history(args.output / "history.csv")
    for name, figure in (
        ("history", plot_history(history)),
        ("views", plot_views(model.augmenter, np.array(images[:6]))),
    ):
        write_atomically(args.output / f"{name}.png", figure.savefig)
    accuracy = evaluate(args, model)
    report(accuracy)
    results = {
        "settings": {**vars(args), "backend": keras.backend.backend()},
        "pretraining": {name: values[-1] for name, values in history.items()},
        "accuracy": accuracy,
    }
    text = json.dumps(results, indent=2, default=str)
    write_atomically(args.output / "results.json", lambda path: path.write_text(text + "\n"))
    print(f"Wrote {args.output / 'results.json'}")


def main():
    """Run on STL-10, or with `--smoke` on synthetic images in its format."""
    args = arguments()
    if args.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    if not args.smoke:
        return run(args)
    with tempfile.TemporaryDirectory() as args.data_dir:
        write_stl10(Path(args.data_dir) / "stl10_binary", **SMOKE_IMAGES)
        run(args)


if __name__ == "__main__":
    main()
