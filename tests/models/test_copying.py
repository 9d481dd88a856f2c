import keras
import numpy as np
import pytest
from keras import layers

from keras_simclr import ResNet, SimCLR
from keras_simclr.models.copying import copy_model, new_model_like
from keras_simclr.models.encoder import build_encoder

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 12, 12, 3), dtype="uint8")


class Described(layers.Layer):
    def call(self, images):
        return keras.ops.cast(images, "float32") / 255


class Undescribed(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, images):
        return self.function(images)


def simclr(*first_layers):
    backbone = keras.Sequential([*first_layers, layers.Conv2D(8, 3)])
    return SimCLR(backbone, augmenter=layers.RandomFlip(seed=1), seed=0)


@pytest.mark.parametrize("first", [lambda: layers.Lambda(lambda x: x / 255), Described])
def test_a_live_model_can_be_fine_tuned_even_if_others_could_not_load_it(first):
    model = simclr(first())
    model.fit(IMAGES, verbose=0)
    classifier = model.fine_tune(IMAGES, np.arange(16) % 4, epochs=0, verbose=0)
    features = keras.Model(classifier.inputs, classifier.get_layer("logits").input)
    np.testing.assert_allclose(
        features.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), rtol=1e-5
    )


def test_a_backbone_that_cannot_be_copied_warns_before_any_training():
    model = simclr(Undescribed(lambda images: images / 255))
    with pytest.warns(UserWarning, match="Undescribed.*`get_config`"):
        model.build((None, 12, 12, 3))
    with pytest.raises(ValueError, match="cannot be copied.*Undescribed"):
        copy_model(model.encoder)


class Claimed(layers.Layer):
    """A layer as a file of others may have it: what is a lambda in its config never was one."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def call(self, images):
        return images

    def get_config(self):
        return {"code": dict(self.code)}

    @classmethod
    def from_config(cls, config):
        keras.saving.deserialize_keras_object(config["code"], safe_mode=False)
        return cls(**config)


@pytest.mark.filterwarnings("ignore:.*lambda")
def test_code_of_others_is_not_restored_when_layers_are_copied():
    code = keras.saving.serialize_keras_object(lambda images: images)
    assert code["class_name"] == "__lambda__"
    model = keras.Sequential([keras.Input((4,)), Claimed(code)])
    with pytest.raises(ValueError, match="cannot be copied.*`Claimed` cannot be restored"):
        copy_model(model)
    with pytest.raises(ValueError, match="(?i)lambda"):
        new_model_like(model, seed=0)


@pytest.mark.every_backend
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_copy_keeps_the_flags_of_each_layer(frozen):
    dense = [layers.Dense(2), layers.Dense(2)]
    dense[frozen].trainable = False
    inner = keras.Sequential([keras.Input((3,)), *dense])
    inputs = keras.Input((3,))
    copy = copy_model(keras.Model(inputs, inner(inputs)))
    flags = [layer.trainable for layer in copy.layers[1].layers]
    assert flags == [index != frozen for index in range(2)]
    assert len(copy.trainable_variables) == 2


def test_a_network_with_selective_kernels_is_copied():
    encoder = build_encoder(ResNet(50, sk_ratio=0.0625), (32, 32, 3), (0, 255))
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype="uint8")
    expected = encoder.predict(images, verbose=0)
    np.testing.assert_array_equal(copy_model(encoder).predict(images, verbose=0), expected)
