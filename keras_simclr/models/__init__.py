"""Models: `SimCLR` and its parts."""

from keras_simclr.models.distill import distill as distill
from keras_simclr.models.export import export_model as export_model
from keras_simclr.models.feature_maps import feature_maps as feature_maps
from keras_simclr.models.import_checkpoint import import_checkpoint as import_checkpoint
from keras_simclr.models.load_checkpoint import LoadedCheckpoint as LoadedCheckpoint
from keras_simclr.models.load_checkpoint import load_checkpoint as load_checkpoint
from keras_simclr.models.projection_head import ProjectionHead as ProjectionHead
from keras_simclr.models.resnet import ResNet as ResNet
from keras_simclr.models.safetensors_file import from_safetensors as from_safetensors
from keras_simclr.models.safetensors_file import to_safetensors as to_safetensors
from keras_simclr.models.simclr import SimCLR as SimCLR
