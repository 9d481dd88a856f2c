"""Pretrain and fine-tune on all devices of a machine.

    KERAS_BACKEND=jax        python examples/multi_device.py
    KERAS_BACKEND=tensorflow python examples/multi_device.py
    KERAS_BACKEND=torch      torchrun --standalone --nproc-per-node 2 examples/multi_device.py

Takes about one and a half minutes on two CPU cores. Expect 92 to 93 % accuracy.

Trains on scikit-learn's digits, with 100 labels, and prints the accuracy on 448 other digits.
Without GPUs, JAX and TensorFlow split the CPU into two devices (`--cpus`). PyTorch has as many
devices as there are processes.
"""

import argparse
import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--cpus", type=int, default=2, help="devices to split the CPU into")
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
if BACKEND == "jax":  # before Keras looks for devices
    import jax

    jax.config.update("jax_num_cpu_devices", options.cpus)

import keras
from keras import layers

from keras_simclr import SimCLR, SimCLRAugmenter
from keras_simclr.datasets import load_digits
from keras_simclr.distribution import is_main_process
from keras_simclr.layers import presets


def all_devices():
    """Return the context in which a model is created for all devices."""
    if BACKEND == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    if BACKEND != "tensorflow":
        return contextlib.nullcontext()  # torchrun started a process per device
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy().scope()
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * options.cpus
    tf.config.set_logical_device_configuration(cpu, logical)
    names = [f"CPU:{index}" for index in range(options.cpus)]
    return tf.distribute.MirroredStrategy(names).scope()


def backbone():
    """Return a small convolutional network."""
    network = [layers.Rescaling(1 / 255)]
    for filters, strides in ((32, 1), (64, 2), (128, 2)):
        network += [
            layers.Conv2D(filters, 3, strides, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    return keras.Sequential(network)


def main():
    """Pretrain without labels, fine-tune on 100 labels, and print the accuracy."""
    (x_train, y_train), (x_test, y_test) = load_digits(image_size=16)
    with all_devices():
        augmenter = SimCLRAugmenter(**presets.SMALL_GRAY, seed=0)
        model = SimCLR(backbone(), augmenter=augmenter, seed=0)
    model.fit(x_train, batch_size=256, epochs=options.epochs, verbose=2)
    classifier = model.fine_tune(x_train[:100], y_train[:100], num_classes=10, verbose=0)
    count = 448  # of 450: a multiple of the number of devices
    probabilities = classifier.predict(x_test[:count], batch_size=count, verbose=0)
    if is_main_process():
        accuracy = (probabilities.argmax(axis=1) == y_test[:count]).mean()
        print(f"Accuracy with 100 labels: {accuracy:.1%}")


if __name__ == "__main__":
    main()
