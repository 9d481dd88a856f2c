"""SimCLR for Keras 3: features from unlabeled images, on TensorFlow, JAX and PyTorch."""

import os
import sys

_is_script = os.path.basename(sys.argv[0]) in ("keras-simclr", "keras-simclr.exe")

# The command line imports what it needs, and prints its help without loading a framework.
if not _is_script and sys.orig_argv[1:3] != ["-m", "keras_simclr"]:
    from keras_simclr import callbacks as callbacks
    from keras_simclr import checkpoints as checkpoints
    from keras_simclr import datasets as datasets
    from keras_simclr import evaluation as evaluation
    from keras_simclr import layers as layers
    from keras_simclr import losses as losses
    from keras_simclr import models as models
    from keras_simclr import optimizers as optimizers
    from keras_simclr import plotting as plotting
    from keras_simclr import report as report
    from keras_simclr.layers import SimCLRAugmenter as SimCLRAugmenter
    from keras_simclr.losses import NTXentLoss as NTXentLoss
    from keras_simclr.losses import nt_xent as nt_xent
    from keras_simclr.models import ProjectionHead as ProjectionHead
    from keras_simclr.models import ResNet as ResNet
    from keras_simclr.models import SimCLR as SimCLR
    from keras_simclr.optimizers import LARS as LARS
    from keras_simclr.optimizers import ConvMuon as ConvMuon

__version__ = "0.1.0"
