"""Matplotlib figures of views, training histories, embeddings and results."""

from keras_simclr.plotting.confusion_matrix import plot_confusion_matrix as plot_confusion_matrix
from keras_simclr.plotting.embeddings import plot_embeddings as plot_embeddings
from keras_simclr.plotting.embeddings import project_embeddings as project_embeddings
from keras_simclr.plotting.history import load_history as load_history
from keras_simclr.plotting.history import plot_history as plot_history
from keras_simclr.plotting.label_efficiency import plot_label_efficiency as plot_label_efficiency
from keras_simclr.plotting.neighbors import plot_neighbors as plot_neighbors
from keras_simclr.plotting.similarities import plot_similarities as plot_similarities
from keras_simclr.plotting.views import plot_views as plot_views
