"""What happens to the loss scale of `mixed_float16` where gradients overflow."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_simclr import ProjectionHead, SimCLR

SIZE, BATCH = 12, 4


@pytest.fixture(autouse=True)
def half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def make_images(batches):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (BATCH * batches, SIZE, SIZE, 3)).astype("uint8")


def model_of(initial_scale, steepness, rate):
    """Return a model whose loss has gradients of about `steepness`."""
    model = SimCLR(
        keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 255)]),
        projection_head=ProjectionHead(3, output_dim=4, batch_norm=False),
        augmenter=layers.Rescaling(1.0, dtype="float32"),
        seed=1,
    )
    optimizer = keras.optimizers.SGD(rate / steepness)
    model.compile(
        keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=initial_scale),
        loss=lambda z_a, z_b: steepness * ops.mean(ops.square(z_a - 1) + ops.square(z_b - 1)),
    )
    return model


def fit(model, batches, **arguments):
    history = model.fit(make_images(batches), batch_size=BATCH, verbose=0, **arguments)
    return history.history["loss"]


def scale_of(model):
    return float(ops.convert_to_numpy(model.optimizer.dynamic_scale))


def test_gradients_that_overflow_at_any_loss_scale_raise():
    """Sixteen steps, all skipped, take the scale from 2^15 below 1."""
    model = model_of(2.0**15, steepness=1e8, rate=0.1)
    model.build((None, SIZE, SIZE, 3))
    before = model.get_weights()
    fit(model, batches=15)
    assert scale_of(model) == 1
    with pytest.raises(ArithmeticError, match="from 32768 to 0.5 by epoch 1.*`mixed_bfloat16`"):
        fit(model, batches=1)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_training_continues_while_the_loss_scale_adapts():
    model = model_of(2.0**40, steepness=1.0, rate=0.1)
    losses = fit(model, batches=40, epochs=3)
    assert 1 <= scale_of(model) < 2.0**30
    assert losses[-1] < losses[0] / 2


def test_training_continues_if_the_initial_loss_scale_is_below_one():
    model = model_of(2.0**-20, steepness=1e8, rate=0.1)
    losses = fit(model, batches=20, epochs=2)
    assert scale_of(model) == 2.0**-20
    assert losses[-1] < losses[0] / 2
