"""Published models: a list, downloads, and their files as NumPy arrays by name."""

from keras_simclr.checkpoints.fetch import cache_folder as cache_folder
from keras_simclr.checkpoints.fetch import fetch as fetch
from keras_simclr.checkpoints.load_arrays import load_arrays as load_arrays
from keras_simclr.checkpoints.published_model import PublishedModel as PublishedModel
from keras_simclr.checkpoints.registry import published_model as published_model
