"""Contrastive losses."""

from keras_simclr.losses.nt_xent import NTXentLoss as NTXentLoss
from keras_simclr.losses.nt_xent import contrastive_accuracy as contrastive_accuracy
from keras_simclr.losses.nt_xent import nt_xent as nt_xent
