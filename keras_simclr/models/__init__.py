"""Models: `SimCLR` and its parts."""

from keras_simclr.models.projection_head import ProjectionHead as ProjectionHead
from keras_simclr.models.resnet import ResNet as ResNet
from keras_simclr.models.simclr import SimCLR as SimCLR
