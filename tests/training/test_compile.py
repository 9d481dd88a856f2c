import keras
import numpy as np
import pytest

from keras_simclr import LARS, ConvMuon, NTXentLoss
from keras_simclr.optimizers.recipes import FEW_EPOCHS

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_setting_other_options_keeps_the_recipe(make_model, labeled_images):
    plain, eager = make_model(), make_model()
    eager.compile(run_eagerly=True)
    losses = [m.fit(labeled_images[0], verbose=0).history["loss"] for m in (plain, eager)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert type(eager.optimizer) is type(plain.optimizer)
    assert eager.run_eagerly


def test_a_custom_loss_is_used_with_the_recipes_optimizer(make_model, labeled_images):
    model = make_model()
    model.compile(loss=NTXentLoss(5.0))
    loss = model.fit(labeled_images[0], verbose=0).history["loss"][0]
    assert abs(loss - np.log(2 * 16 - 1)) < 0.1  # nearly uniform at so high a temperature


@pytest.mark.parametrize("name", ["nt_xent", "NTXentLoss"])
def test_the_loss_can_be_given_by_name(name, make_model, labeled_images):
    losses = []
    for loss in (name, "auto"):
        model = make_model(temperature=0.3)
        model.compile("sgd", loss=loss)
        losses.append(model.evaluate(labeled_images[0], verbose=0)[0])
    assert losses[0] == losses[1]


@pytest.mark.every_backend
def test_a_keras_loss_compares_the_two_embeddings(make_model, labeled_images):
    model = make_model(augmenter=keras.layers.Rescaling(1.0))
    model.compile("sgd", loss="mean_squared_error")
    assert model.evaluate(labeled_images[0], verbose=0)[0] == pytest.approx(0, abs=1e-6)


def test_an_unknown_loss_is_refused(make_model):
    with pytest.raises(ValueError, match="(?i)could not interpret loss"):
        make_model().compile(loss="nt_xnet")


@pytest.mark.parametrize(
    ("option", "value"),
    [("metrics", ["accuracy"]), ("weighted_metrics", ["accuracy"]), ("loss_weights", [1.0])],
)
def test_unsupported_arguments_are_refused(option, value, make_model):
    with pytest.raises(ValueError, match="not supported"):
        make_model().compile("sgd", **{option: value})


def test_evaluate_needs_no_compile(make_model, labeled_images):
    result = make_model().evaluate(labeled_images[0], verbose=0, return_dict=True)
    assert sorted(result) == ["contrastive_accuracy", "loss", "relative_loss"]


def test_fit_plans_the_recipe_after_an_evaluation(make_model, labeled_images):
    evaluated, plain = make_model(), make_model()
    evaluated.evaluate(labeled_images[0], verbose=0)
    losses = [m.fit(labeled_images[0], verbose=0).history["loss"] for m in (evaluated, plain)]
    assert losses[0] == losses[1]


def test_train_on_batch_requires_an_optimizer(make_model, labeled_images):
    model = make_model()
    model.build((None, 12, 12, 3))
    model.compile()
    with pytest.raises(ValueError, match="`train_on_batch` needs an optimizer.*compile"):
        model.train_on_batch(labeled_images[0])


@pytest.mark.parametrize(
    ("epochs", "optimizer", "temperature"),
    [(101, LARS, 0.5), (100, ConvMuon, 0.1)],
)
def test_the_recipe_depends_on_the_length_of_the_run(
    epochs, optimizer, temperature, make_model, labeled_images, capsys
):
    model = make_model()
    model.fit(labeled_images[0], epochs=epochs, initial_epoch=epochs - 1, batch_size=8)
    assert isinstance(model.optimizer, optimizer)
    assert model.temperature == temperature
    assert f"{optimizer.__name__}, peak rate" in capsys.readouterr().out


@pytest.mark.usefixtures("compiled")
def test_a_second_fit_has_a_new_schedule(make_model, labeled_images):
    model = make_model(augmenter=keras.layers.Rescaling(1.0))
    model.fit(labeled_images[0], epochs=2, batch_size=8, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-6)
    model.fit(labeled_images[0], epochs=4, initial_epoch=2, batch_size=8, verbose=0)
    assert int(model.optimizer.iterations) == 12


@pytest.mark.usefixtures("compiled")
def test_a_compiled_model_keeps_its_optimizer_and_loss(make_model, labeled_images):
    model = make_model()
    model.compile(keras.optimizers.Adam(0.25), loss=NTXentLoss(0.7))
    model.fit(labeled_images[0], verbose=0)
    assert float(model.optimizer.learning_rate) == 0.25
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
    ],
    ids=["ReduceLROnPlateau", "LearningRateScheduler"],
)
def test_callbacks_that_set_the_learning_rate_are_refused_with_a_schedule(
    callback, make_model, labeled_images
):
    model = make_model()
    with pytest.raises(ValueError, match="sets the learning rate, which is a schedule"):
        model.fit(labeled_images[0], verbose=0, callbacks=callback)
    model.compile(keras.optimizers.SGD(0.5))
    model.fit(labeled_images[0], verbose=0, callbacks=callback)


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_layers_unfrozen_between_two_fits_of_the_recipe_are_trained(make_model, labeled_images):
    model = make_model(augmenter=keras.layers.Rescaling(1.0))
    model.backbone.layers[1].trainable = False
    model.fit(labeled_images[0], verbose=0)
    kernel = model.backbone.layers[1].kernel
    frozen = np.array(kernel)
    model.backbone.layers[1].trainable = True
    model.fit(labeled_images[0], verbose=0)
    assert not np.array_equal(frozen, np.array(kernel))


@pytest.mark.usefixtures("compiled")
def test_layers_frozen_between_two_fits_of_the_recipe_keep_their_weights(
    make_model, labeled_images
):
    model = make_model(augmenter=keras.layers.Rescaling(1.0))
    model.fit(labeled_images[0], verbose=0)
    model.backbone.layers[1].trainable = False
    frozen = np.array(model.backbone.layers[1].kernel)
    model.fit(labeled_images[0], verbose=0)
    np.testing.assert_array_equal(model.backbone.layers[1].kernel, frozen)


@pytest.mark.every_backend
def test_another_fit_of_the_same_length_compiles_nothing(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    before = model.train_function
    model.fit(labeled_images[0], verbose=0)
    assert model.train_function is before
    model.fit(labeled_images[0], epochs=2, verbose=0)
    assert model.train_function is not before


def test_a_compiled_model_must_be_compiled_again_after_freezing(make_model, labeled_images):
    model = make_model()
    model.compile("sgd")
    model.fit(labeled_images[0], verbose=0)
    model.backbone.layers[1].trainable = False
    with pytest.raises(ValueError, match="Call `compile` again"):
        model.fit(labeled_images[0], verbose=0)


def test_a_loaded_model_is_compiled_as_before(make_model, labeled_images, tmp_path):
    model = make_model()
    model.compile(keras.optimizers.Adam(0.25), loss=NTXentLoss(0.7), run_eagerly=True)
    model.fit(labeled_images[0], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.learning_rate) == 0.25
    assert loaded.evaluate(labeled_images[0], verbose=0) == pytest.approx(
        model.evaluate(labeled_images[0], verbose=0), rel=1e-5
    )


def test_a_loaded_model_keeps_the_recipe_of_its_epochs(make_model, labeled_images, tmp_path):
    model = make_model(augmenter=None)
    model.fit(labeled_images[0], epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.temperature == model.temperature == FEW_EPOCHS.temperature
    assert loaded.augmenter.scale == model.augmenter.scale == FEW_EPOCHS.crop_area
    assert loaded.evaluate(labeled_images[0], verbose=0) == pytest.approx(
        model.evaluate(labeled_images[0], verbose=0), rel=1e-5
    )
    assert model.untrained_copy(seed=3).augmenter.scale == FEW_EPOCHS.crop_area


def test_crops_follow_the_recipe_unless_the_augmenter_is_given(make_model, labeled_images):
    model, given = make_model(augmenter=None), make_model()
    for epochs, area in [(2, FEW_EPOCHS.crop_area), (101, (0.08, 1.0))]:
        options = {"epochs": epochs, "initial_epoch": epochs - 1, "batch_size": 8, "verbose": 0}
        model.fit(labeled_images[0], **options)
        given.fit(labeled_images[0], **options)
        assert model.augmenter.scale == area
        assert given.augmenter.scale == (0.08, 1.0)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_a_loss_that_is_no_mean_is_refused(reduction, make_model):
    with pytest.raises(ValueError, match="must be a mean"):
        make_model().compile(loss=NTXentLoss(reduction=reduction))


def test_the_temperature_is_that_of_the_loss(make_model, labeled_images, capsys):
    model = make_model()
    model.compile(loss=NTXentLoss(0.7))
    model.fit(labeled_images[0], verbose=2)
    assert model.temperature == 0.7
    assert "temperature 0.7" in capsys.readouterr().out
