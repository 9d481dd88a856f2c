"""Save, load and fine-tune models on the backend of this process, as its input says.

A line of input is a command and its arguments; the answer is a line "done".
"""

import sys
from pathlib import Path

import keras
import numpy as np

from keras_simclr import ProjectionHead, SimCLR, SimCLRAugmenter

BACKEND = keras.backend.backend()
FOLDER = Path(sys.argv[1])
ORDER = ("model", "encoder", "classifier")
if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)  # compiling takes far longer than a few steps


def given():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (12, 8, 8, 3)).astype("uint8"), np.arange(12) % 3


def save(name, model, classifier):
    """Save a model, its encoder and a classifier, and what they return."""
    images, _ = given()
    parts = dict(zip(ORDER, (model, model.encoder, classifier), strict=True))
    outputs = {part: network.predict(images, verbose=0) for part, network in parts.items()}
    weights = {f"weight_{i}": np.array(w) for i, w in enumerate(model.encoder.get_weights())}
    np.savez(FOLDER / f"{name}.npz", seed=model.seed, **outputs, **weights)
    for part, network in parts.items():
        network.save(FOLDER / f"{name}-{part}.keras")


def load(name):
    """Load the parts of `name`, and save what they return on this backend."""
    images, _ = given()
    parts = {part: keras.models.load_model(FOLDER / f"{name}-{part}.keras") for part in ORDER}
    outputs = {part: network.predict(images, verbose=0) for part, network in parts.items()}
    model = parts["model"]
    weights = {f"weight_{i}": np.array(w) for i, w in enumerate(model.encoder.get_weights())}
    found = {"seed": model.seed, "pretrained": model.pretrained}
    np.savez(FOLDER / f"{name}-on-{BACKEND}.npz", **found, **outputs, **weights)
    return model


def fine_tune(model):
    images, labels = given()
    options = {"epochs": 1, "batch_size": 6, "augmenter": None, "verbose": 0}
    return model.fine_tune(images, labels, **options)


def create():
    """Pretrain a ResNet for a step, so that its moving statistics are not the initial ones."""
    crops = SimCLRAugmenter(color_distortion=0.0, grayscale=0.0, blur=0.0, seed=1)
    head = ProjectionHead(output_dim=8)
    model = SimCLR("resnet18", projection_head=head, augmenter=crops, seed=7)
    model.compile(keras.optimizers.SGD(0.01))
    model.fit(given()[0], batch_size=6, verbose=0)
    save(BACKEND, model, fine_tune(model))


def adopt(name):
    """Load the model of another backend, fine-tune it, and save it for its way back."""
    model = load(name)
    save(f"{name}-by-{BACKEND}", model, fine_tune(model))


if __name__ == "__main__":
    for line in sys.stdin:
        command, *arguments = line.split()
        {"create": create, "adopt": adopt, "load": load}[command](*arguments)
        print("done", flush=True)
