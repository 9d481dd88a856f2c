"""Preparation of arrays and datasets for Keras' `fit`."""
