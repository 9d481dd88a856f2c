"""Datasets: folders of image files, handwritten digits and STL-10."""

from keras_simclr.datasets.digits import load_digits as load_digits
from keras_simclr.datasets.image_folder import image_folder as image_folder
from keras_simclr.datasets.stl10 import load_stl10 as load_stl10
