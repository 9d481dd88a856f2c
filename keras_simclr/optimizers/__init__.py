"""LARS, Muon for convolutions, and recipes for training."""

from keras_simclr.optimizers.conv_muon import ConvMuon as ConvMuon
from keras_simclr.optimizers.lars import LARS as LARS
from keras_simclr.optimizers.recipes import pretraining_recipe as pretraining_recipe
from keras_simclr.optimizers.recipes import warmup_cosine as warmup_cosine
