"""Evaluation of features: with labels by kNN and linear probes, and without any."""

from keras_simclr.evaluation.health import HealthReport as HealthReport
from keras_simclr.evaluation.health import embedding_health as embedding_health
from keras_simclr.evaluation.knn import KNNPrediction as KNNPrediction
from keras_simclr.evaluation.knn import knn_accuracy as knn_accuracy
from keras_simclr.evaluation.knn import knn_predict as knn_predict
from keras_simclr.evaluation.label_efficiency import LabelEfficiency as LabelEfficiency
from keras_simclr.evaluation.label_efficiency import label_efficiency as label_efficiency
from keras_simclr.evaluation.linear_probe import LinearProbe as LinearProbe
from keras_simclr.evaluation.linear_probe import linear_probe as linear_probe
from keras_simclr.evaluation.neighbors import Neighbors as Neighbors
from keras_simclr.evaluation.neighbors import nearest_neighbors as nearest_neighbors
