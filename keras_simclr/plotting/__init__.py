"""Matplotlib figures of views, training histories and results."""

from keras_simclr.plotting.history import plot_history as plot_history
from keras_simclr.plotting.label_efficiency import plot_label_efficiency as plot_label_efficiency
from keras_simclr.plotting.views import plot_views as plot_views
