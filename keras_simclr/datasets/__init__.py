"""Datasets of real images."""

from keras_simclr.datasets.digits import load_digits as load_digits
from keras_simclr.datasets.stl10 import load_stl10 as load_stl10
