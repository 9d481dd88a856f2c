"""Train a small model with backups after every step: python train.py FOLDER RESULT."""

import sys

import keras
import numpy as np
from keras import layers

from keras_simclr import SimCLR
from keras_simclr.callbacks import BackupAndRestore

EPOCHS, STEPS = 6, 10


def main(folder, result):
    """Train to the end, from the last backup on, and save all variables and the history."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (8 * STEPS, 8, 8, 1)).astype("uint8")
    backbone = keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
        ]
    )
    model = SimCLR(backbone, augmenter=layers.RandomFlip(seed=2), seed=1, micro_batch_size=4)
    backup = BackupAndRestore(folder, save_freq=1)
    history = model.fit(images, batch_size=8, epochs=EPOCHS, verbose=0, callbacks=[backup])
    variables = [*model.variables, *model.optimizer.variables]
    arrays = {str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    np.savez(result, **arrays, loss=history.history["loss"], epoch=history.epoch)


if __name__ == "__main__":
    main(*sys.argv[1:])
