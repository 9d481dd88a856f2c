import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import ResNet, SimCLR
from keras_simclr.models.encoder import build_encoder

pytestmark = pytest.mark.once


@pytest.mark.every_backend
def test_a_resnet_of_this_package_receives_images_in_0_1():
    encoder = build_encoder(ResNet(18), (16, 16, 3), (-1, 1))
    scaled = keras.Model(encoder.input, encoder.get_layer("to_unit_range").output)
    images = np.array([-1, 0, 1], "float32").reshape(3, 1, 1, 1) * np.ones(
        (3, 16, 16, 3), "float32"
    )
    np.testing.assert_allclose(scaled.predict(images, verbose=0)[:, 0, 0, 0], [0, 0.5, 1])


def test_a_resnet_may_normalize_its_images():
    resnet = ResNet(18, normalization=((0.5, 0.25, 0.0), (0.5, 1.0, 2.0)))
    encoder = build_encoder(resnet, (16, 16, 3), (0, 255))
    scaled = keras.Model(encoder.input, encoder.get_layer("normalized").output)
    white = scaled.predict(np.full((1, 4, 4, 3), 255, "uint8"), verbose=0)[0, 0, 0]
    np.testing.assert_allclose(white, [1, 0.75, 0.5], rtol=1e-6)


def test_a_normalization_for_other_channels_is_refused():
    resnet = ResNet(18, normalization=((0.5, 0.25, 0.0), 1))
    with pytest.raises(ValueError, match="one number for each of the 4 channels"):
        build_encoder(resnet, (16, 16, 4), (0, 255))


def test_any_other_backbone_receives_unchanged_images():
    encoder = build_encoder(layers.Identity(), (4, 4, 3), (0, 255))
    images = np.full((2, 4, 4, 3), 200, "uint8")
    np.testing.assert_allclose(encoder.predict(images, verbose=0), np.full((2, 3), 200))


@pytest.mark.every_backend
def test_a_feature_map_is_averaged():
    encoder = build_encoder(layers.Identity(), (2, 2, 1), (0, 255))
    images = np.arange(4.0).reshape(1, 2, 2, 1)
    assert encoder.predict(images, verbose=0) == pytest.approx(1.5)


def test_a_feature_vector_does_not_change():
    encoder = build_encoder(lambda images: keras.ops.max(images, axis=(1, 2)), (2, 2, 1), (0, 255))
    images = np.arange(4.0).reshape(1, 2, 2, 1)
    assert encoder.predict(images, verbose=0) == pytest.approx(3.0)


def test_the_error_for_tokens_says_how_to_select_one():
    with pytest.raises(ValueError, match=r"must return one feature map.*\[:, 0\]"):
        build_encoder(layers.Reshape((16, 3)), (4, 4, 3), (0, 255))


def test_a_callable_that_cannot_be_traced_is_refused():
    with pytest.raises(ValueError, match="`backbone` could not be applied"):
        build_encoder(lambda images: np.asarray(images), (4, 4, 3), (0, 255))


def test_a_backbone_with_a_full_input_shape_builds_at_once():
    backbone = keras.Sequential([keras.Input((8, 9, 2)), layers.Conv2D(4, 3)])
    model = SimCLR(backbone)
    assert model.encoder.input_shape == (None, 8, 9, 2)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "ResNet50V2"])
def test_keras_applications_can_be_the_backbone(name):
    application = getattr(keras.applications, name)
    backbone = application(weights=None, include_top=False, input_shape=(None, None, 3))
    encoder = build_encoder(backbone, (40, 40, 3), (0, 255))
    assert encoder.predict(np.zeros((2, 40, 40, 3)), verbose=0).ndim == 2


def fit_once(backbone, size=32):
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3)).astype("uint8")
    model = SimCLR(backbone, image_size=size, seed=0)
    assert np.isfinite(model.fit(images, verbose=0).history["loss"]).all()
    assert np.isfinite(model.predict(images, verbose=0)).all()


@pytest.mark.every_backend
@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_a_generic_keras_cv_backbone_is_trained():
    import keras_cv

    fit_once(
        keras_cv.models.ResNetBackbone(
            stackwise_filters=[8, 16],
            stackwise_blocks=[1, 1],
            stackwise_strides=[1, 2],
            include_rescaling=True,
        )
    )


@pytest.mark.every_backend
@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_a_keras_hub_resnet_is_trained():
    import keras_hub

    fit_once(
        keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 64, 64, 64],
            stackwise_num_blocks=[1, 1, 1, 1],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
        )
    )


@pytest.mark.every_backend
@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_a_keras_hub_vit_is_trained_by_its_class_token():
    import keras_hub

    vit = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    fit_once(lambda images: vit(images)[:, 0])
