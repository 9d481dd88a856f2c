"""Save, load and fine-tune models on the backend of this process, as its input says.

A line of input is a command and its arguments; the answer is a line "done".
"""

import hashlib
import sys
from pathlib import Path

import keras
import numpy as np

from keras_simclr import ProjectionHead, SimCLR, SimCLRAugmenter

BACKEND = keras.backend.backend()
FOLDER = Path(sys.argv[1])
PARTS = ("model", "encoder", "classifier")
if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)  # compiling takes far longer than a few steps


def given():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 8, 8, 3)).astype("uint8"), np.arange(6) % 3


def digests(model):
    """Return a checksum of each weight of a model, moving statistics included."""
    return [hashlib.sha256(np.array(weight).tobytes()).hexdigest() for weight in model.weights]


def auto_jit_compile():
    """Return what `jit_compile="auto"` is on this backend."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd")
    return model.jit_compile


def outputs(parts):
    return {name: part.predict(given()[0], verbose=0) for name, part in parts.items()}


def create():
    """Pretrain a ResNet for a step, so that its moving statistics are not the initial ones."""
    images, labels = given()
    crops = SimCLRAugmenter(color_distortion=0.0, grayscale=0.0, blur=0.0, seed=1)
    model = SimCLR(
        "resnet18", projection_head=ProjectionHead(output_dim=8), augmenter=crops, seed=7
    )
    model.compile(keras.optimizers.SGD(0.01))
    model.fit(images, batch_size=6, steps_per_epoch=1, verbose=0)
    classifier = model.fine_tune(images, labels, epochs=0, optimizer="sgd", verbose=0)
    parts = dict(zip(PARTS, (model, model.encoder, classifier), strict=True))
    np.savez(FOLDER / f"{BACKEND}.npz", weights=digests(model), **outputs(parts))
    for name, part in parts.items():
        part.save(FOLDER / f"{BACKEND}-{name}.keras")


def load(origin):
    """Load what another backend has saved; return the model."""
    parts = {name: keras.models.load_model(FOLDER / f"{origin}-{name}.keras") for name in PARTS}
    model = parts["model"]
    found = {"weights": digests(model), "seed": model.seed, "pretrained": model.pretrained}
    found["jit_compile"] = [parts[name].jit_compile for name in ("model", "classifier")]
    found["auto"] = auto_jit_compile()
    np.savez(FOLDER / f"{origin}-on-{BACKEND}.npz", **found, **outputs(parts))
    return model


def fine_tune(origin):
    """Fine-tune the model of another backend for a step, and save the classifier."""
    images, labels = given()
    options = {"epochs": 1, "steps_per_epoch": 1, "augmenter": None, "optimizer": "sgd"}
    classifier = load(origin).fine_tune(images, labels, verbose=0, **options)
    np.savez(FOLDER / f"{origin}-by-{BACKEND}.npz", **outputs({"classifier": classifier}))
    classifier.save(FOLDER / f"{origin}-by-{BACKEND}.keras")


def take_back(other):
    """Load the classifier that another backend has fine-tuned from the model of this one."""
    classifier = keras.models.load_model(FOLDER / f"{BACKEND}-by-{other}.keras")
    np.savez(FOLDER / f"{BACKEND}-from-{other}.npz", **outputs({"classifier": classifier}))


COMMANDS = {"create": create, "load": load, "fine_tune": fine_tune, "take_back": take_back}

if __name__ == "__main__":
    for line in sys.stdin:
        command, *arguments = line.split()
        COMMANDS[command](*arguments)
        print("done", flush=True)
