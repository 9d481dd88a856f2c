import keras
import numpy as np
import pytest

from keras_simclr import LARS, NTXentLoss, SimCLR, SimCLRAugmenter
from keras_simclr.layers import RandomSolarize
from keras_simclr.training.batches import ArrayBatches


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def assert_equal_weights(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def datasets(images, labels):
    import grain
    import tensorflow as tf
    import torch

    tensors = torch.utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))
    return {
        "tf.data": tf.data.Dataset.from_tensor_slices((images, labels)).batch(8),
        "tf.data without labels": tf.data.Dataset.from_tensor_slices(images).batch(8),
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=8),
        "PyDataset": ArrayBatches(images, labels, batch_size=8),
        "grain": grain.MapDataset.source(list(zip(images, labels, strict=True))).batch(8),
        "grain iterated": grain.MapDataset.source(images).to_iter_dataset().batch(8),
        "generator": (images[i : i + 8] for i in range(0, 24, 8)),
    }


KINDS = list(datasets(np.zeros((1, 8, 8, 1)), np.zeros(1)))


@pytest.mark.parametrize("kind", KINDS)
def test_fit_takes_pictures_from(kind, make_model, pictures):
    model = make_model()
    history = model.fit(datasets(*pictures)[kind], steps_per_epoch=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int32"])
def test_fit_takes_arrays_of(dtype, make_model, pictures):
    history = make_model().fit(pictures[0].astype(dtype), pictures[1], verbose=0)
    assert sorted(history.history) == ["contrastive_accuracy", "loss", "relative_loss"]


def test_fit_takes_tensors_of_the_backend(make_model, pictures):
    images = keras.ops.convert_to_tensor(pictures[0].astype("float32"))
    assert np.isfinite(make_model().fit(images, verbose=0).history["loss"]).all()


def test_the_loss_falls(make_model, pictures):
    model = make_model()
    model.compile(keras.optimizers.Adam(0.01))
    loss = model.fit(pictures[0], epochs=40, batch_size=24, verbose=0).history["loss"]
    assert np.mean(loss[-10:]) < np.mean(loss[:10]) - 0.15


def test_every_weight_of_encoder_and_head_is_trained(make_model, pictures):
    model = make_model()
    model.build((None, 12, 12, 3))
    before = weights(model)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(pictures[0], verbose=0)
    paths = [w.path for w in model.weights]
    for path, a, b in zip(paths, before, weights(model), strict=True):
        assert not np.array_equal(a, b), path


def test_both_views_share_one_batch_norm(make_model, pictures):
    """The moving mean after one step is that of all 2N views together."""
    model = make_model(augmenter=keras.layers.Rescaling(1.0))  # views are the pictures
    model.compile(keras.optimizers.SGD(0.0))
    images = pictures[0][:8]
    model.build((None, 12, 12, 3))
    convolved = keras.ops.convert_to_numpy(
        model.backbone.layers[1](model.backbone.layers[0](images.astype("float32")))
    )
    model.fit(images, batch_size=8, verbose=0)
    moving_mean = np.array(model.backbone.layers[2].moving_mean)
    np.testing.assert_allclose(moving_mean, 0.1 * convolved.mean((0, 1, 2)), rtol=1e-4)


def test_the_reported_loss_is_nt_xent_of_the_two_halves(make_model, pictures):
    model = make_model(augmenter=keras.layers.Rescaling(1.0), temperature=0.3)
    model.build((None, 12, 12, 3))
    model.compile("sgd")
    result = model.evaluate(pictures[0], batch_size=24, return_dict=True, verbose=0)
    z = keras.ops.convert_to_numpy(model.projection_head(model(pictures[0])))
    assert result["loss"] == pytest.approx(float(NTXentLoss(0.3)(z, z)), rel=1e-4)
    assert result["relative_loss"] == pytest.approx(result["loss"] / np.log(47), rel=1e-4)


def test_a_model_that_nobody_fitted_is_evaluated_too(make_model, pictures):
    model = make_model()
    model.compile("sgd")
    assert len(model.evaluate(pictures[0], verbose=0)) == 3


def test_evaluating_twice_gives_the_same(make_model, pictures):
    model = make_model()
    model.fit(pictures[0], verbose=0)
    first = model.evaluate(pictures[0], batch_size=8, verbose=0)
    assert model.evaluate(pictures[0], batch_size=8, verbose=0) == first


def test_validation_leaves_training_unchanged(make_model, pictures):
    without, with_validation = make_model(), make_model()
    without.fit(pictures[0], epochs=2, verbose=0)
    history = with_validation.fit(pictures[0], epochs=2, validation_data=pictures[0][:9], verbose=0)
    assert_equal_weights(without, with_validation)
    assert len(history.history["val_contrastive_accuracy"]) == 2


def test_validation_split_keeps_the_last_pictures_out(make_model, pictures):
    history = make_model().fit(pictures[0], validation_split=0.25, batch_size=9, verbose=0)
    assert "val_loss" in history.history


def test_a_seed_repeats_a_run(make_model, pictures):
    one, other = make_model(seed=5), make_model(seed=5)
    one.fit(pictures[0], epochs=2, verbose=0)
    other.fit(pictures[0], epochs=2, verbose=0)
    assert_equal_weights(one, other)


def test_another_seed_gives_another_run(make_model, pictures):
    one, other = make_model(seed=5), make_model(seed=6)
    one.build((None, 12, 12, 3))
    other.build((None, 12, 12, 3))
    other.set_weights(one.get_weights())
    one.fit(pictures[0], verbose=0)
    other.fit(pictures[0], verbose=0)
    assert not np.array_equal(weights(one)[0], weights(other)[0])


def test_steps_draw_different_views(make_model, pictures):
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0))
    model.build((None, 12, 12, 3))
    model.projection_head.stack[1].momentum = 0.0
    losses = [model.train_on_batch(pictures[0])[0] for _ in range(3)]
    singles = [losses[0], 2 * losses[1] - losses[0]]  # train_on_batch reports running means
    assert singles[0] != pytest.approx(singles[1], rel=1e-6)


def test_calling_and_predict_give_float32_features(make_model, pictures):
    model = make_model()
    features = model.predict(pictures[0], verbose=0)
    assert features.shape == (24, 8) and features.dtype == np.float32
    np.testing.assert_allclose(
        features, keras.ops.convert_to_numpy(model(pictures[0])), rtol=1e-4, atol=1e-5
    )


def test_predict_takes_pictures_of_another_size(make_model, pictures):
    model = make_model()
    model.fit(pictures[0], verbose=0)
    assert model.predict(np.zeros((2, 20, 17, 3), "uint8"), verbose=0).shape == (2, 8)


@pytest.mark.parametrize("shape", [(10, 12, 1), (9, 14, 3), (12, 12, 5)])
def test_any_size_and_any_number_of_channels_is_trained_on(shape, make_model, rng):
    images = rng.integers(0, 256, size=(8, *shape)).astype("uint8")
    assert np.isfinite(make_model().fit(images, verbose=0).history["loss"]).all()


def test_views_can_have_another_size_than_the_pictures(make_model, pictures):
    model = make_model(image_size=(8, 10))
    model.fit(pictures[0], verbose=0)
    assert tuple(model.augmenter(pictures[0]).shape) == (24, 8, 10, 3)


@pytest.mark.parametrize(("epochs", "optimizer"), [(100, LARS), (99, keras.optimizers.AdamW)])
def test_the_recipe_goes_by_the_length_of_the_run(epochs, optimizer, make_model, pictures, capsys):
    model = make_model()
    model.fit(pictures[0], epochs=epochs, initial_epoch=epochs - 1, batch_size=8)
    assert isinstance(model.optimizer, optimizer)
    assert model.temperature == 0.5
    assert f"{optimizer.__name__}, peak rate" in capsys.readouterr().out


def test_a_second_fit_plans_a_schedule_of_its_own(make_model, pictures):
    model = make_model()
    model.fit(pictures[0], epochs=2, batch_size=8, verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-6)
    model.fit(pictures[0], epochs=4, initial_epoch=2, batch_size=8, verbose=0)
    assert int(model.optimizer.iterations) == 12


def test_a_compiled_model_keeps_its_optimizer_and_loss(make_model, pictures):
    model = make_model()
    model.compile(keras.optimizers.Adam(0.25), loss=NTXentLoss(0.7))
    model.fit(pictures[0], verbose=0)
    assert float(model.optimizer.learning_rate) == 0.25
    assert int(model.optimizer.iterations) == 1


def test_a_short_last_batch_is_used(make_model, pictures):
    model = make_model()
    data = ArrayBatches(pictures[0], batch_size=10)  # 10, 10, 4
    model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("kind", ["arrays of known size", "unknown size"])
def test_a_batch_of_one_changes_nothing_and_is_warned_of(kind, make_model, pictures):
    model = make_model()
    model.compile("sgd")
    if kind == "unknown size":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices(pictures[0]).batch(23)
    else:
        data = ArrayBatches(pictures[0], batch_size=23)
    with pytest.warns(UserWarning, match="batch of one picture was passed over"):
        model.fit(data, verbose=0)
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize(
    "stock",
    [
        lambda: keras.Sequential(
            [
                keras.layers.RandomFlip("horizontal", seed=1),
                keras.layers.RandomContrast(0.5, seed=2),
            ]
        ),
        lambda: keras.layers.Pipeline(
            [keras.layers.RandomFlip("vertical", seed=1), keras.layers.RandomErasing(seed=2)]
        ),
        lambda: keras.layers.RandomBrightness(0.3, seed=4),
    ],
    ids=["Sequential", "Pipeline", "layer"],
)
def test_keras_own_layers_serve_as_augmenter(stock, make_model, pictures):
    model = make_model(augmenter=stock())
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(pictures[0], epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][0] != history["loss"][1]


def test_the_two_views_may_have_augmenters_of_their_own(make_model, pictures, tmp_path):
    two = (SimCLRAugmenter(8, seed=1), SimCLRAugmenter(8, custom=[RandomSolarize(1.0)], seed=2))
    model = make_model(augmenter=two)
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(pictures[0], epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][0] != history["loss"][1]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.augmenter.first.image_size == (8, 8)
    assert isinstance(again.augmenter.second.custom[0], RandomSolarize)
    assert np.isfinite(again.fine_tune(*pictures, epochs=1, verbose=0).predict(pictures[0])).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_learns_and_gives_float32_features(policy, make_model, pictures):
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model()
        history = model.fit(pictures[0][:8], epochs=2, verbose=0)
        features = model.predict(pictures[0][:2], verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert features.dtype == np.float32
    assert np.isfinite(history.history["loss"]).all()


def test_xla_trains_too(make_model, pictures):
    model = make_model()
    model.compile("sgd", jit_compile=keras.backend.backend() != "torch")
    assert np.isfinite(model.fit(pictures[0], verbose=0).history["loss"]).all()


def test_a_model_that_nobody_built_says_how_to_build_it(make_model):
    with pytest.raises(ValueError, match="model.build"):
        make_model().encoder  # noqa: B018


def test_metrics_are_refused_with_the_cure(make_model):
    with pytest.raises(ValueError, match="`metrics` must be left out"):
        make_model().compile("sgd", metrics=["accuracy"])


def test_an_unknown_backbone_lists_the_known():
    with pytest.raises(ValueError, match="resnet18.*resnet200"):
        SimCLR("resnet51")


@pytest.mark.parametrize("temperature", [0, -0.1])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        SimCLR("resnet18", temperature=temperature)


def test_a_loss_that_is_not_finite_ends_the_run(make_model, pictures):
    model = make_model()
    model.compile(keras.optimizers.SGD(1e30))
    with pytest.raises(ArithmeticError, match="loss became"):
        model.fit(pictures[0], epochs=5, batch_size=8, verbose=0)


def test_an_augmenter_that_cannot_be_compiled_is_warned_of(make_model, pictures):
    model = make_model(augmenter=keras.layers.RandomRotation(0.1, seed=1))
    with pytest.warns(UserWarning, match="random_rotation.*cannot be compiled"):
        model.fit(pictures[0], verbose=0)
