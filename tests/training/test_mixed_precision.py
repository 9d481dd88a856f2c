"""Training in half precision: what is computed in float32 all the same, and that it learns."""

import contextlib
from unittest import mock

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr import ProjectionHead, SimCLR, SimCLRAugmenter, nt_xent
from keras_simclr.models.classifier import build_classifier
from keras_simclr.models.resnet import ResNet
from keras_simclr.optimizers import LARS
from keras_simclr.training.step import StepInputs, embed_views

SIZE, STEPS, EPOCHS = 12, 4, 50
POLICIES = ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.once)]


@contextlib.contextmanager
def policy_set(policy):
    keras.config.set_dtype_policy(policy)
    try:
        yield policy
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.fixture(params=POLICIES)
def policy(request):
    with policy_set(request.param):
        yield request.param


def make_images(count=64):
    """Return images of 3x3 squares of random colors."""
    squares = np.random.default_rng(0).uniform(0, 255, (count, 3, 3, 3))
    return np.kron(squares, np.ones((1, 4, 4, 1))).astype("uint8")


def small_model(micro_batch_size=None):
    keras.utils.set_random_seed(0)
    backbone = [
        keras.Input((SIZE, SIZE, 3)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(16, 3, strides=2, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
    ]
    return SimCLR(
        keras.Sequential(backbone),
        projection_head=ProjectionHead(output_dim=16),
        augmenter=SimCLRAugmenter(scale=(0.5, 1), color_distortion=0, grayscale=0, blur=0, seed=2),
        temperature=0.05,
        micro_batch_size=micro_batch_size,
        seed=1,
    )


@pytest.fixture(scope="module", params=POLICIES)
def trained(request):
    """Return a model that was trained for 200 steps, and its losses."""
    with policy_set(request.param):
        yield fitted(small_model())


def fitted(model):
    model.compile(LARS(1.0))
    losses = model.fit(make_images(), batch_size=64 // STEPS, epochs=EPOCHS, verbose=0).history[
        "loss"
    ]
    return model, losses


def assert_learned(model, losses):
    """Hold the losses, and that hardly a step was skipped for its gradients."""
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] / 4
    assert int(model.optimizer.iterations) > 0.9 * STEPS * EPOCHS


def precision_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def test_it_learns_at_a_low_temperature(trained):
    assert_learned(*trained)


def test_it_learns_in_micro_batches():
    with policy_set("mixed_float16"):
        assert_learned(*fitted(small_model(micro_batch_size=8)))


def test_inner_layers_compute_in_half_precision(trained):
    convolved = trained[0].backbone.layers[1](np.zeros((1, SIZE, SIZE, 3), "float32"))
    assert precision_of(convolved) in ("float16", "bfloat16")


def test_the_weights_are_float32(trained):
    floats = {v.dtype for v in trained[0].weights if "float" in v.dtype}
    assert floats == {"float32"}


def test_features_are_float32(trained):
    assert trained[0].predict(make_images(2), verbose=0).dtype == np.float32
    assert precision_of(trained[0].encoder(make_images(2))) == "float32"


def test_embeddings_are_float32(trained):
    h = trained[0].encoder(make_images(2))
    assert precision_of(trained[0].projection_head(h)) == "float32"


def test_class_probabilities_are_float32(trained):
    classifier = build_classifier(trained[0], num_classes=3, projection_layers=1)
    assert precision_of(classifier(make_images(2))) == "float32"


def test_fine_tuning_from_a_layer_of_the_head_stays_finite(trained):
    """Its linear probe takes features of half precision."""
    labels = np.arange(64) % 2
    classifier = trained[0].fine_tune(
        make_images(), labels, projection_layers=1, epochs=1, augmenter=None, verbose=0
    )
    probabilities = classifier.predict(make_images(4), verbose=0)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_a_custom_head_may_return_half_precision(policy, micro_batch_size):
    model = SimCLR(
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 255)]),
        projection_head=keras.Sequential([layers.Dense(8)]),
        augmenter=layers.Rescaling(1.0, dtype="float32"),
        micro_batch_size=micro_batch_size,
        seed=1,
    )
    assert precision_of(model.projection_head(np.zeros((1, 3)))) != "float32"
    z = embed_views(
        model, StepInputs(ops.convert_to_tensor(make_images(4)), ops.convert_to_tensor(0)), False
    )
    assert precision_of(z) == "float32"


def faint_model():
    """Return a model that distinguishes images of about 200 by hundredths.

    Float16 has steps of an eighth there, bfloat16 of one.
    """
    exact = {"dtype": "float32"}
    head = [keras.Input((3,)), layers.Activation("linear", **exact)]
    return SimCLR(
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1.0, **exact)]),
        projection_head=keras.Sequential(head),
        augmenter=layers.Rescaling(100.0, -100.0 * 200.0, **exact),
        seed=1,
    )


def faint_images(count=16):
    """Return images of one color, 0.02 from 200, each in another direction."""
    directions = np.random.default_rng(0).normal(size=(count, 1, 1, 3))
    directions *= 0.02 / np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.tile(200 + directions, (1, SIZE, SIZE, 1)).astype("float32")


def test_images_reach_augmenter_and_encoder_in_float32(policy):
    model = faint_model()
    model.compile("sgd")
    results = model.evaluate(faint_images(), return_dict=True, verbose=0)
    assert results["contrastive_accuracy"] == 1


def test_images_reach_features_in_float32(policy):
    features = faint_model().predict(faint_images(), verbose=0)
    np.testing.assert_allclose(features, faint_images()[:, 0, 0], atol=1e-3)


def test_the_encoder_rescales_images_in_float32(policy):
    model = SimCLR(ResNet(18), seed=1)
    constant = keras.initializers.Constant(0.01)  # JAX compiles random ones, for seconds
    with mock.patch("keras.initializers.VarianceScaling", lambda: constant):
        model.build((None, SIZE, SIZE, 3))
    scaled = model.encoder.get_layer("to_unit_range").output
    found = keras.Model(model.encoder.input, scaled)(faint_images())
    expected = faint_images().astype("float64") / 255
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)


def float32_gradients(micro_batch_size):
    """Return the change of a step with learning rate 1 when all layers use float32."""
    keras.utils.set_random_seed(0)
    exact = {"dtype": "float32"}
    backbone = [layers.Rescaling(1 / 255, **exact), layers.Conv2D(4, 3, activation="tanh", **exact)]
    model = SimCLR(
        keras.Sequential(backbone),
        projection_head=ProjectionHead(4, output_dim=4, batch_norm=False, **exact),
        augmenter=layers.Rescaling(1.0, **exact),
        micro_batch_size=micro_batch_size,
        seed=1,
    )
    model.build((None, SIZE, SIZE, 3))
    model.compile(keras.optimizers.SGD(1.0))
    before = model.get_weights()
    model.fit(make_images(32), batch_size=32, verbose=0)
    return [after - start for after, start in zip(model.get_weights(), before, strict=True)]


def test_micro_batches_do_not_round_the_weights_of_float32_layers(policy):
    for whole, parts in zip(float32_gradients(None), float32_gradients(16), strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_nt_xent_of_half_precision_embeddings_is_computed_in_float32(rng, dtype):
    halves = [ops.cast(z, dtype) for z in rng.normal(size=(2, 32, 8))]
    copies = [ops.cast(z, "float32") for z in halves]
    found, expected = (
        ops.convert_to_numpy(nt_xent(*z, temperature=0.05)) for z in (halves, copies)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_lars_adapts_to_gradients_whose_squares_vanish_in_half_precision():
    """The step is half as long as the weights; without a norm it would be as the gradient."""
    w = keras.Variable(np.full(4, 2.0), dtype="float16", name="kernel")
    optimizer = LARS(1.0, weight_decay=0.0, trust_coefficient=0.5)
    optimizer.apply([ops.full((4,), 1e-5, dtype="float16")], [w])
    np.testing.assert_allclose(ops.convert_to_numpy(w), 1.0, rtol=1e-2)
