"""Gradients of convolutions written as matrix products, against those of JAX."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr.ops.fast_layers import fast_layers
from keras_simclr.ops.forms import form

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only needed on JAX")
CASES = {
    "same": {"padding": "same"},
    "valid": {},
    "strides": {"strides": (2, 1), "padding": "same"},
    "one pixel": {"kernel_size": 1, "strides": 2},
    "not square": {"kernel_size": (5, 2), "padding": "same"},
    "bias and activation": {"activation": "tanh", "use_bias": True},
    "dilated": {"dilation_rate": 2},
    "groups": {"groups": 2},
    "channels first": {"data_format": "channels_first"},
}


def gradients(layer, images, gradient, context):
    """Return outputs and the gradients of images and kernel."""
    with context:

        def loss(images, kernel):
            with keras.StatelessScope([(layer.kernel, kernel)]):
                return ops.sum(ops.sin(layer(images)))

        kernel = np.asarray(layer.kernel)
        return [
            np.asarray(layer(images)),
            gradient(lambda images: loss(images, kernel), images),
            gradient(lambda kernel: loss(images, kernel), kernel),
        ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_gradients_are_those_of_keras(case, device, gradient, rng):
    layer = layers.Conv2D(6, **{"kernel_size": 3, "use_bias": False, **CASES[case]})
    images = rng.normal(size=(3, 8, 8, 4)).astype("float32")
    if case == "channels first":
        images = images.transpose(0, 3, 1, 2)
    layer.build(images.shape)
    expected = gradients(layer, images, gradient, form(device))
    with form(device):
        found = gradients(layer, images, gradient, fast_layers(layer))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_the_gradient_of_a_kernel_is_a_matrix_product_on_a_cpu():
    import jax

    layer = layers.Conv2D(6, 3)
    layer.build((None, 8, 8, 4))

    def loss(kernel, images):
        with keras.StatelessScope([(layer.kernel, kernel)]):
            return ops.sum(layer(images))

    def products(device):
        with form(device), fast_layers(layer):
            text = str(
                jax.make_jaxpr(jax.grad(loss))(np.zeros((3, 3, 4, 6)), np.zeros((2, 8, 8, 4)))
            )
        return text.count("dot_general")

    assert products("cpu") == 1
    assert products("gpu") == 0


def test_half_precision_is_summed_in_float32(gradient, rng):
    layer = layers.Conv2D(6, 3, dtype="mixed_bfloat16")
    images = rng.normal(1, 1, (64, 8, 8, 4)).astype("float32")
    layer.build(images.shape)
    expected = gradients(layer, images, gradient, form("cpu"))[2]
    found = gradients(layer, images, gradient, fast_layers(layer))[2]
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
