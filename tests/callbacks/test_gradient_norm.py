"""The norm of the gradients in the logs."""

import keras
import numpy as np
import pytest

from keras_simclr.callbacks import GradientNorm

pytestmark = pytest.mark.usefixtures("eager")


def fit(model, images, callbacks, **options):
    options = {"batch_size": 8, "verbose": 0, "callbacks": callbacks, **options}
    return model.fit(images, **options).history


def norm_of_change(model, images, **options):
    """Return `gradient_norm` of a step, and by how much SGD with rate 1 has changed the weights."""
    model.build((None, *images.shape[1:]))
    before = [np.array(weight) for weight in model.trainable_variables]
    history = fit(model, images, [GradientNorm()], steps_per_epoch=1, **options)
    after = [np.array(weight) for weight in model.trainable_variables]
    changes = [np.sum((b - a) ** 2) for b, a in zip(before, after, strict=True)]
    return history["gradient_norm"][0], np.sqrt(sum(changes))


@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_it_is_the_norm_of_the_gradient_of_the_whole_batch(
    micro_batch_size, make_model, labeled_images
):
    model = make_model(micro_batch_size=micro_batch_size)
    model.compile(keras.optimizers.SGD(1.0))
    norm, expected = norm_of_change(model, labeled_images[0])
    assert norm > 1e-3
    assert norm == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(1.0, loss_scale_factor=64.0),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=256.0),
    ],
)
def test_the_scale_of_the_loss_does_not_change_it(optimizer, make_model, labeled_images):
    optimizer = type(optimizer).from_config(optimizer.get_config())
    model = make_model()
    model.compile(optimizer)
    norm, expected = norm_of_change(model, labeled_images[0])
    assert norm == pytest.approx(expected, rel=1e-4)


def test_it_is_the_norm_before_clipping(make_model, labeled_images):
    model = make_model()
    model.compile(keras.optimizers.SGD(1.0, global_clipnorm=1e-4))
    norm, change = norm_of_change(model, labeled_images[0])
    assert change == pytest.approx(1e-4, rel=1e-2)
    assert norm > 1e-3


def test_it_is_the_mean_over_the_steps_of_an_epoch(compiled, make_model, labeled_images):
    images = labeled_images[0]
    one, both = make_model(), make_model()
    for model in (one, both):
        model.compile(keras.optimizers.SGD(0.1))
    of_steps = fit(one, images[:16], [GradientNorm()], epochs=2, steps_per_epoch=1, shuffle=False)
    of_epoch = fit(both, images[:16], [GradientNorm()], shuffle=False)
    expected = np.mean(of_steps["gradient_norm"])
    assert of_epoch["gradient_norm"][0] == pytest.approx(expected, rel=1e-4)


def test_it_is_logged_in_training_only_and_if_asked_for(make_model, labeled_images):
    images, _ = labeled_images
    model = make_model()
    history = fit(model, images, [GradientNorm()], validation_data=images[:8])
    assert "gradient_norm" in history and "val_loss" in history
    assert "val_gradient_norm" not in history
    assert "gradient_norm" not in fit(model, images, [])
    assert "gradient_norm" not in model.evaluate(images[:8], verbose=0, return_dict=True)


def test_training_is_the_same_with_it(make_model, labeled_images):
    without, logged = make_model(), make_model()
    fit(without, labeled_images[0], [])
    fit(logged, labeled_images[0], [GradientNorm()])
    for one, other in zip(without.get_weights(), logged.get_weights(), strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-6, atol=1e-7)


def test_fine_tuning_with_it_is_refused(pretrained, labeled_images):
    with pytest.raises(ValueError, match="`GradientNorm` works in `SimCLR.fit`"):
        pretrained.fine_tune(*labeled_images, callbacks=[GradientNorm()], epochs=1, verbose=0)
