"""A run as one HTML page."""

from keras_simclr.report.page import write_report as write_report
