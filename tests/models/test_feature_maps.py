import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import ResNet
from keras_simclr.models import feature_maps
from keras_simclr.models.encoder import build_encoder


@pytest.fixture
def encoder():
    """Return a function that makes an encoder without weights."""

    def make(resnet):
        with keras.StatelessScope(initialize_variables=False):
            return build_encoder(resnet, (64, 64, 3), (0, 1))

    yield make
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize("resnet", [ResNet(18), ResNet(50, sk_ratio=0.0625), ResNet(34, width=2)])
def test_block_groups_have_the_channels_of_the_papers(resnet, encoder):
    factor = (4 if resnet.depth == 50 else 1) * resnet.width
    maps = feature_maps(encoder(resnet)).output
    channels = [maps[f"block_group{group}"].shape[-1] for group in (1, 2, 3, 4)]
    assert channels == [64 * factor, 128 * factor, 256 * factor, 512 * factor]


def test_maps_have_the_strides_4_to_32():
    maps = feature_maps(build_encoder(ResNet(18), (64, 64, 3), (0, 1)))
    found = maps.predict(np.zeros((1, 64, 64, 3)), verbose=0)
    strides = {name: 64 // array.shape[1] for name, array in found.items() if array.ndim == 4}
    groups = {f"block_group{group}": 2 ** (group + 1) for group in (1, 2, 3, 4)}
    assert strides == {"initial_conv": 2, "initial_max_pool": 4, **groups}


def test_the_stem_for_small_images_has_no_pooling(encoder):
    assert "initial_max_pool" not in feature_maps(encoder(ResNet(18, stem="cifar"))).output


def test_the_model_shares_the_layers_of_the_encoder():
    encoder = build_encoder(ResNet(18), (32, 32, 3), (0, 1))
    assert feature_maps(encoder).get_layer("stem_conv") is encoder.get_layer("stem_conv")


def test_an_encoder_of_another_backbone_is_refused():
    encoder = build_encoder(layers.Conv2D(4, 3), (8, 8, 3), (0, 255))
    with pytest.raises(
        ValueError, match="`encoder` must be the encoder of a `SimCLR` with a `ResN"
    ):
        feature_maps(encoder)
