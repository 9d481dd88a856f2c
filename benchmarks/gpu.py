"""Speed and accuracy on one GPU, next to published figures.

    make gpu-bench [KERAS_BACKEND=jax] [PYTHON=python] [ARGUMENTS="--data FOLDER"]
    KERAS_BACKEND=jax python benchmarks/gpu.py [--data FOLDER [--epochs 100] [--views 2 4]]
        [--smoke]

In bfloat16, on uint8 images in memory: the rate of `fit` with ResNet-18 on 32 pixels with two and
with four views, and with ResNet-50 on 224 pixels; the time of two views of a batch at 224 pixels,
and their percentage of a step. The first epoch, which compiles, does not count.

With `--data`, ResNet-18 is instead pretrained on CIFAR-10 with two and with four views: FOLDER has
`train` and `test`, each with a folder of images per class. kNN accuracy (k = 200) is measured every
tenth epoch, linear accuracy at the end, and the minutes of training, with compilation, until kNN
first reaches 90 %.

`--smoke` makes a few steps of everything, with a tiny network, in the form for GPUs on any device.
"""

import argparse
import contextlib
import statistics
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from cifar10 import evaluate, load

from keras_simclr import SimCLR
from keras_simclr.layers.views import draw_views
from keras_simclr.ops.compilation import compile_function
from keras_simclr.ops.forms import form

KNN_GOAL = 90.0  # percent
# What others published, for an A100 and the views for an H200, and what this package aims at.
PUBLISHED = {  # name: published, aim
    "ResNet-18, 32 px, 2 views: images per second": ("4,200", "9,000"),
    "ResNet-18, 32 px, 4 views: images per second": ("-", "-"),
    "ResNet-50, 224 px, 2 views: images per second": ("1,017", "1,100"),
    "two views of a batch, 224 px: ms": ("234", "25"),
    "two views of a batch, 224 px: % of a step": ("-", "10"),
    "CIFAR-10, 2 views: kNN": ("83.2", "85.0"),
    "CIFAR-10, 2 views: linear": ("85.6", "87.0"),
    "CIFAR-10, 2 views: minutes until kNN 90": ("99", "45"),
}


class Plan(NamedTuple):
    """What is measured: networks, sizes of views in pixels, images per batch, steps per epoch."""

    small: str
    large: str
    small_size: int
    large_size: int
    batch_size: int
    steps: int


FULL = Plan("resnet18", "resnet50", 32, 224, 256, 40)
SMOKE = Plan("tiny", "tiny", 16, 40, 8, 2)


class Seconds(keras.callbacks.Callback):
    """Record the seconds of each epoch, until its loss is known."""

    def __init__(self):
        super().__init__()
        self.of_epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stop the clock."""
        float(logs["loss"])
        self.of_epochs.append(time.perf_counter() - self.began)


class Accuracy(Seconds):
    """Measure kNN accuracy every tenth epoch, and print it."""

    def __init__(self, train, test):
        super().__init__()
        self.train, self.test = train, test
        self.minutes_to_goal = None

    def on_epoch_end(self, epoch, logs=None):
        """Evaluate, outside of the time that is counted."""
        super().on_epoch_end(epoch, logs)
        if (epoch + 1) % 10:
            return
        knn = evaluate(self.model, self.train, self.test, C=None)["knn"]
        minutes = sum(self.of_epochs) / 60
        print(f"  epoch {epoch + 1}, {minutes:.1f} minutes of training: kNN {knn}", flush=True)
        if self.minutes_to_goal is None and knn >= KNN_GOAL:
            self.minutes_to_goal = minutes


def new_model(network, num_views):
    """Return a model of a network by its name; "tiny" is a single convolution."""
    if network == "tiny":
        convolution = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)
        network = keras.Sequential([convolution, keras.layers.BatchNormalization()])
    return SimCLR(network, num_views=num_views, temperature=0.5, seed=0)


def random_images(count, size):
    """Return random uint8 images."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), "uint8")


def rate(network, size, num_views, plan):
    """Return the images per second of `fit`, the median of three epochs after the first."""
    seconds = Seconds()
    new_model(network, num_views).fit(
        random_images(plan.batch_size * plan.steps, size),
        batch_size=plan.batch_size,
        epochs=4,
        verbose=0,
        callbacks=[seconds],
    )
    return plan.batch_size * plan.steps / statistics.median(seconds.of_epochs[1:])


def milliseconds_of_views(plan):
    """Return the milliseconds of two views of each image of a batch, the median of ten."""
    model = new_model("tiny", 2)
    model.build((None, plan.large_size, plan.large_size, 3))
    draw = compile_function(lambda x, step: draw_views(model.augmenter, x, step, num_views=2))
    images = keras.ops.convert_to_tensor(random_images(plan.batch_size, plan.large_size))

    def seconds(step):
        began = time.perf_counter()
        views = draw(images, keras.ops.convert_to_tensor(np.int32(step)))
        keras.ops.convert_to_numpy(views[-1, -1, -1])  # waits
        return time.perf_counter() - began

    return 1e3 * statistics.median([seconds(step) for step in range(12)][2:])


def accuracies(plan, num_views, train, test, epochs):
    """Pretrain on the images of `train`, and return what the features of `test` predict."""
    callback, model = Accuracy(train, test), new_model(plan.small, num_views)
    batch_size = min(plan.batch_size, len(train[0]))
    options = {"batch_size": batch_size, "epochs": epochs, "verbose": 0, "callbacks": [callback]}
    model.fit(train[0], **options)
    found = evaluate(model, train, test)
    return found["knn"], found["linear"], callback.minutes_to_goal


def show(name, value):
    """Print a figure, and what is published and aimed at."""
    published, goal = PUBLISHED.get(name, ("-", "-"))
    text = "not reached" if value is None else f"{value:,.1f}"
    print(f"{name:48} {text:>12} {published:>12} {goal:>12}", flush=True)


def measure_speed(plan):
    """Print the speed of `fit` and of the views."""
    for num_views in (2, 4):
        speed = rate(plan.small, plan.small_size, num_views, plan)
        show(f"ResNet-18, 32 px, {num_views} views: images per second", speed)
    speed = rate(plan.large, plan.large_size, 2, plan)
    show("ResNet-50, 224 px, 2 views: images per second", speed)
    milliseconds = milliseconds_of_views(plan)
    show("two views of a batch, 224 px: ms", milliseconds)
    percent = 100 * milliseconds / (1e3 * plan.batch_size / speed)
    show("two views of a batch, 224 px: % of a step", percent)


def measure_accuracy(plan, data, epochs, numbers_of_views):
    """Print the accuracy on CIFAR-10."""
    train, test = (load(data / part, 0, None) for part in ("train", "test"))
    print(f"CIFAR-10: {len(train[0])} images, {epochs} epochs, {len(test[0])} test images")
    for num_views in numbers_of_views:
        found = accuracies(plan, num_views, train, test, epochs)
        for what, value in zip(("kNN", "linear", "minutes until kNN 90"), found, strict=True):
            show(f"CIFAR-10, {num_views} views: {what}", value)


def measure(options):
    """Print what the command line asks for, beside what is published."""
    plan = SMOKE if options.smoke else FULL
    if options.smoke:
        print("A smoke run: the networks and images are tiny, and the figures mean nothing.")
    print(f"{'':48} {'this run':>12} {'published':>12} {'goal':>12}")
    if options.data is None:
        measure_speed(plan)
    else:
        measure_accuracy(plan, options.data, options.epochs, options.views)


def main(arguments=None):
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with `train` and `test`")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--views", type=int, nargs="+", default=[2, 4], help="with --data")
    parser.add_argument("--smoke", action="store_true", help="a few steps, on any device")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message="This model was not pretrained")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with form("gpu") if options.smoke else contextlib.nullcontext():
            measure(options)
    finally:
        keras.config.set_dtype_policy(policy)


if __name__ == "__main__":
    main()
