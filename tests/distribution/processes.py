"""Train in one of several processes and save the results.

python processes.py FOLDER PROCESSES PROCESS PORTS JOB
"""

import contextlib
import json
import os
import random
import shutil
import sys
from pathlib import Path

FOLDER, PROCESSES, PROCESS = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
PORTS, JOB = sys.argv[4].split(","), sys.argv[5]
ADDRESSES = [f"127.0.0.1:{port}" for port in PORTS]
BACKEND = os.environ["KERAS_BACKEND"]

import keras  # noqa: E402
import numpy as np  # noqa: E402
from small_model import make_images, model_of  # noqa: E402

BATCH = 32
OPTIONS = {"batch_size": BATCH, "verbose": 0}


def joined():
    """Join the other processes, and return the function that returns the scope for models."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        # What is computed is the same; compiling takes far longer.
        tf.config.run_functions_eagerly(PROCESSES == 1)
    if PROCESSES > 1:
        return globals()[f"join_on_{BACKEND}"]()
    return contextlib.nullcontext


def join_on_jax():
    keras.distribution.initialize(ADDRESSES[0], PROCESSES, PROCESS)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return contextlib.nullcontext


def join_on_tensorflow():
    task = {"type": "worker", "index": PROCESS}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": ADDRESSES}, "task": task})
    import tensorflow as tf

    return tf.distribute.MultiWorkerMirroredStrategy().scope


def join_on_torch():
    """Set what `torchrun` sets."""
    os.environ |= {"WORLD_SIZE": str(PROCESSES), "RANK": str(PROCESS), "LOCAL_RANK": str(PROCESS)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORTS[0]}
    return contextlib.nullcontext


def create_model(scope_of):
    """Return a model in the scope; its views are only crops, which compile faster."""
    from keras_simclr import SimCLRAugmenter
    from keras_simclr.layers.presets import CROP_AND_FLIP

    with scope_of():
        model = model_of(augmenter=SimCLRAugmenter(**CROP_AND_FLIP, seed=2))
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def weights_of(name, model):
    weights = {f"{name}_{n}": value for n, value in enumerate(model.get_weights())}
    return {key: value for key, value in weights.items() if value.dtype.kind == "f"}


def logs(name):
    """Return callbacks that write files, named after this process."""
    path = f"{FOLDER}/{PROCESSES}-{name}-{PROCESS}"
    checkpoint = keras.callbacks.ModelCheckpoint(path + ".weights.h5", save_weights_only=True)
    return [keras.callbacks.CSVLogger(path + ".csv"), checkpoint]


class CopyOfSecondEpoch(keras.callbacks.Callback):
    """Keep a copy of a backup, from which another run can resume."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and PROCESS == 0:
            (FOLDER / f"{PROCESSES}-copy").mkdir()
            name = "epoch-2-step-0.backup"
            shutil.copy(FOLDER / f"{PROCESSES}-backup" / name, FOLDER / f"{PROCESSES}-copy" / name)


def refusal(scope_of):
    """Return what is said to processes with different data."""
    try:
        create_model(scope_of).fit(make_images()[PROCESS:], batch_size=BATCH, verbose=0)
    except ValueError as error:
        return str(error)
    return ""


def whole(scope_of):
    """Return the results of everything that a model can do."""
    from keras_simclr import SimCLR
    from keras_simclr.callbacks import BackupAndRestore, EmbeddingHealth, KNNMonitor

    images, model = make_images(), create_model(scope_of)
    classes = np.arange(len(images)) % 3
    callbacks = [BackupAndRestore(FOLDER / f"{PROCESSES}-backup"), CopyOfSecondEpoch()]
    callbacks += [KNNMonitor(images, classes, images, classes, k=3), EmbeddingHealth(images)]
    fitted = model.fit(
        images,
        epochs=3,
        validation_data=images[:32],
        callbacks=[*callbacks, *logs("run")],
        **OPTIONS,
    )
    found = {f"run_{name}": values for name, values in fitted.history.items()}
    found |= weights_of("weight", model)
    found["evaluated"] = model.evaluate(images[:32], **OPTIONS)
    found["predicted"] = model.predict(images[:21], batch_size=8, verbose=0)
    labels = images[:, 0, 0, 0] // 128
    validation = {"validation_data": (images, labels)}
    tuned = model.fine_tune(
        images, labels, epochs=2, callbacks=logs("tuned"), **validation, **OPTIONS
    )
    found |= {f"tuned_{name}": values for name, values in tuned.history.history.items()}
    found |= weights_of("classifier", tuned)
    random.seed(os.getpid())
    with scope_of():
        found["seed"] = SimCLR("resnet18").seed  # drawn from a generator in another state
    found["refusal"] = refusal(scope_of) if PROCESSES > 1 else ""
    return found


def resumed(scope_of):
    """Return the weights and the epochs of a run that is resumed from a backup."""
    from keras_simclr.callbacks import BackupAndRestore

    model = create_model(scope_of)
    backup = BackupAndRestore(FOLDER / f"{PROCESSES}-copy", delete_checkpoint=False)
    fitted = model.fit(make_images(), epochs=3, callbacks=[backup], **OPTIONS)
    return {**weights_of("weight", model), "epochs": fitted.epoch}


if __name__ == "__main__":
    results = {"whole": whole, "resumed": resumed}[JOB](joined())
    np.savez(FOLDER / f"{PROCESSES}-{JOB}-{PROCESS}.npz", **results)
