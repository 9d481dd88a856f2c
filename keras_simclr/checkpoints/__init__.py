"""Checkpoint files of TensorFlow and PyTorch as NumPy arrays by name."""

from keras_simclr.checkpoints.load_arrays import load_arrays as load_arrays
