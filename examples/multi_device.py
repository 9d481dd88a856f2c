"""Pretrain and fine-tune on all devices of a machine, on any backend.

    KERAS_BACKEND=jax        python examples/multi_device.py
    KERAS_BACKEND=tensorflow python examples/multi_device.py
    KERAS_BACKEND=torch      torchrun --standalone --nproc-per-node 2 examples/multi_device.py

Trains on scikit-learn's digits and prints the accuracy on 448 others. Without GPUs, JAX and
TensorFlow make two devices of the CPU (`--cpus`); PyTorch has as many as there are processes.
"""

import argparse
import contextlib
import os

BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--cpus", type=int, default=2, help="devices to make of a CPU")
parser.add_argument("--epochs", type=int, default=20)
options = parser.parse_args()
if BACKEND == "jax":  # before Keras looks for devices
    import jax

    jax.config.update("jax_num_cpu_devices", options.cpus)

import keras  # noqa: E402
from keras import layers  # noqa: E402

from keras_simclr import SimCLR, SimCLRAugmenter  # noqa: E402
from keras_simclr.datasets import load_digits  # noqa: E402
from keras_simclr.distribution import is_writer  # noqa: E402
from keras_simclr.layers import presets  # noqa: E402


def all_devices():
    """Return the context in which a model is made for all devices."""
    if BACKEND == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    if BACKEND != "tensorflow":
        return contextlib.nullcontext()  # torchrun has started a process for each device
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy().scope()
    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * options.cpus
    tf.config.set_logical_device_configuration(cpu, parts)
    names = [f"CPU:{number}" for number in range(options.cpus)]
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
    """Pretrain on pictures alone, fine-tune on 100 labels, and tell how well it went."""
    (pictures, labels), (images, answers) = load_digits(image_size=16)
    with all_devices():
        augmenter = SimCLRAugmenter(**presets.SMALL_GRAY, seed=0)
        model = SimCLR(backbone(), augmenter=augmenter, seed=0)
    model.fit(pictures, batch_size=256, epochs=options.epochs, verbose=2)
    classifier = model.fine_tune(pictures[:100], labels[:100], num_classes=10, verbose=0)
    judged = 448  # of 450, which devices can share
    predicted = classifier.predict(images[:judged], batch_size=judged, verbose=0).argmax(1)
    if is_writer():  # the first process speaks for all
        print(f"Accuracy with 100 labels: {(predicted == answers[:judged]).mean():.1%}")


if __name__ == "__main__":
    main()
