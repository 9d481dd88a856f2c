"""Save what later versions must load: python tests/compat/write_files.py

Writes to a folder named after the version, once for each version, on any backend.
"""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import yaml
from keras import layers

import keras_simclr
from keras_simclr import NTXentLoss, ProjectionHead, SimCLR, SimCLRAugmenter, optimizers
from keras_simclr.callbacks import BackupAndRestore
from keras_simclr.layers import RandomRotate90, RandomSolarize, TwoAugmenters
from keras_simclr.models import ResNet

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype("uint8")
LABELS = np.arange(8) % 2
RUN = {"batch_size": 4, "epochs": 2, "verbose": 0}
CONFIG = {
    "command": "pretrain",
    "images": "images",
    "image_size": [16, 16],
    "channels": 3,
    "white": 255,
    "backbone": "resnet18",
    "batch_size": 8,
    "epochs": 3,
    "seed": 5,
    "max_broken": 0.1,
}


def new_model():
    """Return a small model with a bit of everything."""
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=2, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Dropout(0.1, seed=3),
        ],
        name="backbone",
    )
    augmenter = SimCLRAugmenter(image_size=8, custom=[RandomRotate90(seed=1)], seed=2)
    model = SimCLR(
        backbone, projection_head=ProjectionHead(4, output_dim=4), augmenter=augmenter, seed=1
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=NTXentLoss(0.2))
    return model


def run(folder):
    """Train, or restore, the complete run in a folder of backups, and return its model."""
    model = new_model()
    model.fit(IMAGES, callbacks=[BackupAndRestore(folder, delete_checkpoint=False)], **RUN)
    return model


def configs():
    """Return objects whose configs must load."""
    small = SimCLRAugmenter(image_size=8, seed=2)
    return {
        "SimCLR": SimCLR("resnet50", temperature=0.3, micro_batch_size=4, num_views=3, seed=5),
        "ResNet": SimCLR(ResNet(50, width=2, sk_ratio=0.0625, stem="cifar"), seed=5),
        "TwoAugmenters": TwoAugmenters(small, RandomSolarize(seed=7)),
        "NTXentLoss": NTXentLoss(0.2, decoupled=True),
        "LARS": optimizers.LARS(0.3, momentum=0.8, weight_decay=1e-4),
    }


def main(folder):
    """Write all files and what they give."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model = run(folder / "backup")
    for path in (folder / "backup").glob("*"):
        if path.name != "epoch-2-step-0.backup":
            path.unlink()
    classifier = model.fine_tune(IMAGES, LABELS, epochs=1, steps_per_epoch=1, verbose=0)
    parts = {"model": model, "encoder": model.encoder, "classifier": classifier}
    for name, part in parts.items():
        part.save(folder / f"{name}.keras")
    model.save_to_preset(folder / "preset")
    written = {name: keras.saving.serialize_keras_object(o) for name, o in configs().items()}
    (folder / "configs.json").write_text(json.dumps(written, indent=1) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    outputs = {name: part.predict(IMAGES, verbose=0) for name, part in parts.items()}
    z = keras.ops.convert_to_numpy(model.projection_head(model.encoder(IMAGES)))
    losses = model.history.history["loss"]
    np.savez_compressed(folder / "expected.npz", **outputs, z=z, losses=losses)


if __name__ == "__main__":
    main(Path(__file__).parent / keras_simclr.__version__)
