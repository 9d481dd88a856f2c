import contextlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr.ops.fast_layers import fast_layers


def model_of(shape=(6, 5, 4), **options):
    """Return a model of one BatchNormalization with weights that are not its first ones."""
    model = keras.Sequential([keras.Input(shape), layers.BatchNormalization(**options)])
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in model.weights])
    return model


def results(model, images, gradient, context, training=True):
    """Return outputs, the gradient of a sum of them with respect to the images, and weights."""
    with context:
        outputs = ops.convert_to_numpy(model(images, training=training))
        weights = model.get_weights()
        slope = gradient(
            lambda tensor: ops.sum(ops.sin(3 * model(tensor, training=training))), images
        )
    return [outputs, slope, *weights]


CASES = {
    "images": {},
    "images of large values": {"scale": 300},
    "without gamma and beta": {"options": {"scale": False, "center": False}},
    "channels first": {"options": {"axis": 1}},
    "vectors": {"shape": (7,)},
    "another momentum and epsilon": {"options": {"momentum": 0.9, "epsilon": 1e-5}},
    "renorm": {"options": {"renorm": True}},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("training", [True, False])
def test_the_fused_form_agrees_with_keras(case, training, gradient, rng):
    scale, shape = CASES[case].get("scale", 1), CASES[case].get("shape", (6, 5, 4))
    images = (scale * rng.normal(1, 2, (16, *shape))).astype("float32")
    models = [model_of(shape, **CASES[case].get("options", {})) for _ in range(2)]
    contexts = [contextlib.nullcontext(), fast_layers(models[1])]
    expected, found = (
        results(model, images, gradient, context, training)
        for model, context in zip(models, contexts, strict=True)
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_half_precision_is_normalized_in_float32(rng):
    images = rng.normal(200, 2, (16, 6, 5, 4)).astype("float16")
    model = model_of(dtype="mixed_float16")
    expected = ops.convert_to_numpy(model_of(dtype="mixed_float16")(images, training=True))
    with fast_layers(model):
        found = model(images, training=True)
    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=0.01)


def test_a_frozen_layer_keeps_its_statistics(rng):
    model = model_of()
    model.trainable = False
    before = model.get_weights()
    with fast_layers(model):
        model(rng.normal(size=(8, 6, 5, 4)).astype("float32"), training=True)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_layer_is_keras_own_again_afterwards():
    model = model_of()
    with fast_layers(model):
        assert ("call" in vars(model.layers[0])) == (keras.backend.backend() != "jax")
    assert "call" not in vars(model.layers[0])


def test_bfloat16_is_normalized_without_copies_in_float32(rng, gradient):
    images = rng.normal(20, 2, (16, 6, 5, 4)).astype("float32")
    expected = results(model_of(), images, gradient, contextlib.nullcontext())
    model = model_of(dtype="mixed_bfloat16")
    found = results(model, images, gradient, fast_layers(model))
    for weight, wanted in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=0.01)
    np.testing.assert_allclose(found[0].astype("float32"), expected[0], atol=0.1)
