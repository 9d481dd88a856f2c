"""Evaluation of features by k nearest neighbors and linear probes."""

from keras_simclr.evaluation.knn import knn_accuracy as knn_accuracy
from keras_simclr.evaluation.linear_probe import linear_probe as linear_probe
