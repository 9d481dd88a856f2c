import io
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_simclr.data.array_dataset import ArrayDataset

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


def fine_tune(model, labeled_images, **arguments):
    return model.fine_tune(*labeled_images, **{"epochs": 2, "verbose": 0, **arguments})


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_the_classifier_learns_the_labels(pretrained, labeled_images):
    adam = keras.optimizers.Adam(0.01)
    classifier = pretrained.fine_tune(*labeled_images, optimizer=adam, augmenter=None, verbose=0)
    assert classifier.evaluate(*labeled_images, verbose=0)[1] > 0.9


@pytest.mark.every_backend
def test_the_classifier_returns_probabilities(pretrained, labeled_images):
    probabilities = fine_tune(pretrained, labeled_images).predict(labeled_images[0], verbose=0)
    assert probabilities.shape == (24, 2) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_fine_tuning_never_changes_the_model(pretrained, labeled_images):
    before = [np.array(w) for w in pretrained.get_weights()]
    fine_tune(pretrained, labeled_images, projection_layers=1)
    for a, b in zip(before, pretrained.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fine_tuning_changes_the_classifiers_encoder(pretrained, labeled_images):
    classifier = fine_tune(pretrained, labeled_images)
    pairs = zip(
        classifier.get_layer("encoder").get_weights(), pretrained.encoder.get_weights(), strict=True
    )
    assert all(not np.array_equal(a, b) for a, b in pairs)


@pytest.mark.every_backend
def test_a_frozen_encoder_keeps_weights_and_statistics(pretrained, labeled_images):
    classifier = fine_tune(pretrained, labeled_images, freeze_backbone=True)
    encoder = classifier.get_layer("encoder")
    assert len(classifier.trainable_weights) == 2
    for a, b in zip(encoder.get_weights(), pretrained.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.every_backend
def test_a_layer_of_the_head_can_be_kept(pretrained, labeled_images):
    classifier = fine_tune(
        pretrained, labeled_images, projection_layers=1, epochs=1, augmenter=None
    )
    names = [layer.name for layer in classifier.layers]
    assert names == ["images", "encoder", "dense_0", "bn_0", "relu_0", "logits", "probabilities"]


def test_the_kept_layer_starts_from_the_weights_of_the_head(pretrained, labeled_images):
    still = keras.optimizers.SGD(0.0)
    classifier = fine_tune(pretrained, labeled_images, projection_layers=1, optimizer=still)
    np.testing.assert_array_equal(
        classifier.get_layer("dense_0").kernel, pretrained.projection_head.stack[0].kernel
    )


def test_more_layers_than_the_head_has_are_refused(pretrained, labeled_images):
    with pytest.raises(ValueError, match="`projection_layers` must be at most"):
        fine_tune(pretrained, labeled_images, projection_layers=3)


def test_the_model_keeps_the_latest_classifier(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    assert model.classifier is None
    assert fine_tune(model, labeled_images) is model.classifier


def test_the_classifier_is_not_saved_with_the_model(pretrained, labeled_images, tmp_path):
    fine_tune(pretrained, labeled_images)
    pretrained.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").classifier is None
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        with h5py.File(io.BytesIO(file.read("model.weights.h5"))) as weights:
            assert "classifier" not in weights


def test_the_classifier_loads_without_this_package(pretrained, labeled_images, tmp_path):
    classifier = fine_tune(pretrained, labeled_images)
    classifier.save(tmp_path / "classifier.keras")
    np.save(tmp_path / "images.npy", labeled_images[0])
    code = f"""
import sys
sys.modules["keras_simclr"] = None
import keras, numpy as np
model = keras.models.load_model(r"{tmp_path}/classifier.keras")
np.save(r"{tmp_path}/found.npy", model.predict(np.load(r"{tmp_path}/images.npy"), verbose=0))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), classifier.predict(labeled_images[0], verbose=0), rtol=1e-4
    )


@pytest.mark.parametrize("form", ["one-hot", "column", "list"])
def test_labels_are_accepted_as(form, pretrained, labeled_images):
    images, labels = labeled_images
    forms = {"one-hot": np.eye(2)[labels], "column": labels[:, None], "list": list(labels)}
    assert fine_tune(pretrained, (images, forms[form])).output_shape == (None, 2)


def labeled_datasets(*arrays):
    import tensorflow as tf
    import torch

    tensors = torch.utils.data.TensorDataset(*map(torch.tensor, arrays))
    return {
        "tf.data": tf.data.Dataset.from_tensor_slices(arrays).batch(8),
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=8),
        "PyDataset": ArrayDataset(*arrays, batch_size=8),
    }


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ["tf.data", "DataLoader", "PyDataset"])
def test_labeled_images_come_from(kind, pretrained, labeled_images):
    classifier = pretrained.fine_tune(labeled_datasets(*labeled_images)[kind], epochs=2, verbose=0)
    assert int(classifier.optimizer.iterations) == 6


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 300), ({"batch_size": 64}, 300), ({"epochs": 3}, 3), ({"freeze_backbone": True}, 100)],
)
def test_fine_tuning_takes_the_default_number_of_steps(options, steps, pretrained, labeled_images):
    classifier = pretrained.fine_tune(*labeled_images, augmenter=None, verbose=0, **options)
    assert int(classifier.optimizer.iterations) == steps


def test_the_number_of_classes_follows_the_class_names(pretrained, labeled_images, tmp_path):
    for index, image in enumerate(labeled_images[0]):
        folder = tmp_path / ("cats", "dogs", "empty")[index % 2]
        folder.mkdir(exist_ok=True)
        keras.utils.save_img(folder / f"{index}.png", image)
    (tmp_path / "empty").mkdir()
    data = keras.utils.image_dataset_from_directory(tmp_path, image_size=(12, 12), verbose=False)
    classifier = pretrained.fine_tune(data, epochs=1, verbose=0)
    assert classifier.output_shape == (None, 3)


def test_validation_data_and_callbacks_act_on_the_classifier(pretrained, labeled_images, tmp_path):
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9)
    classifier = fine_tune(
        pretrained, labeled_images, epochs=9, validation_data=labeled_images, callbacks=[best, stop]
    )
    assert len(classifier.history.history["val_accuracy"]) == 2
    assert (tmp_path / "best.keras").exists()


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_class_weights_act_on_the_classifier(pretrained, labeled_images):
    classifier = pretrained.fine_tune(
        *labeled_images,
        class_weight={0: 1.0, 1: 0.0},
        optimizer=keras.optimizers.Adam(0.05),
        epochs=20,
        verbose=0,
    )
    assert (classifier.predict(labeled_images[0], verbose=0).argmax(1) == 0).all()


@pytest.mark.usefixtures("compiled")
def test_fine_tuning_uses_views(pretrained, labeled_images):
    """The loss of the first step differs from that of the images themselves."""
    still = {"optimizer": keras.optimizers.SGD(0.0), "freeze_backbone": True, "epochs": 1}
    with_views = fine_tune(pretrained, labeled_images, **still)
    without = fine_tune(
        pretrained,
        labeled_images,
        augmenter=None,
        **{**still, "optimizer": keras.optimizers.SGD(0.0)},
    )
    assert with_views.history.history["loss"] != without.history.history["loss"]


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_an_augmenter_that_cannot_be_compiled_can_be_used(pretrained, labeled_images):
    turned = keras.layers.RandomRotation(0.1, seed=1)
    classifier = fine_tune(pretrained, labeled_images, augmenter=turned, epochs=1)
    assert np.isfinite(classifier.history.history["loss"]).all()


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_fine_tuning_is_repeatable(pretrained, labeled_images):
    one, other = fine_tune(pretrained, labeled_images), fine_tune(pretrained, labeled_images)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fine_tuning_before_pretraining_is_allowed_with_a_warning(make_model, labeled_images):
    with pytest.warns(UserWarning, match="not pretrained"):
        fine_tune(make_model(), labeled_images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "needs labels. Received: images without"), (np.zeros(24, int), "at least 2 classes")],
    ids=["missing", "of one class"],
)
def test_labels_are_checked_before_any_training(labels, message, pretrained, labeled_images):
    with pytest.raises(ValueError, match=message):
        fine_tune(pretrained, (labeled_images[0], labels))


def test_too_small_a_number_of_classes_is_refused(pretrained, labeled_images):
    with pytest.raises(ValueError, match="below `num_classes`"):
        fine_tune(pretrained, (labeled_images[0], np.arange(24) % 3), num_classes=2)


def test_an_infinite_dataset_requires_the_number_of_classes(pretrained, labeled_images):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(labeled_images).repeat().batch(8)
    with pytest.raises(ValueError, match="The number of classes must be known.*`num_classes`"):
        pretrained.fine_tune(data, steps_per_epoch=2)


def test_a_dataset_without_labels_is_refused(pretrained, labeled_images):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(labeled_images[0]).batch(8)
    with pytest.raises(ValueError, match="without labels"):
        pretrained.fine_tune(data)


@pytest.mark.parametrize(
    "callbacks", [None, keras.callbacks.History(), [keras.callbacks.History()]]
)
def test_callbacks_may_be_none_one_or_many(callbacks, pretrained, labeled_images):
    classifier = fine_tune(pretrained, labeled_images, epochs=1, callbacks=callbacks)
    assert int(classifier.optimizer.iterations) == 1


def test_the_last_fraction_is_kept_for_validation(pretrained, labeled_images):
    classifier = fine_tune(pretrained, labeled_images, validation_split=0.25, batch_size=9)
    assert len(classifier.history.history["val_accuracy"]) == 2
    assert int(classifier.optimizer.iterations) == 4


@pytest.mark.parametrize("one_hot", [False, True])
def test_metrics_and_loss_can_be_chosen(one_hot, pretrained, labeled_images):
    images, labels = labeled_images
    sparse = "" if one_hot else "sparse_"
    kind = keras.metrics.CategoricalAccuracy if one_hot else keras.metrics.SparseCategoricalAccuracy
    classifier = fine_tune(
        pretrained,
        (images, np.eye(2)[labels] if one_hot else labels),
        metrics=[kind(name="chosen"), "accuracy"],
        loss=f"{sparse}categorical_crossentropy",
    )
    logs = classifier.history.history
    assert logs["chosen"] == logs["accuracy"]


@pytest.mark.parametrize(
    "options",
    [
        {"metrics": ["top_k_categorical_accuracy"]},
        {"metrics": [keras.metrics.CategoricalAccuracy()]},
        {"loss": "categorical_crossentropy"},
        {"loss": keras.losses.CategoricalCrossentropy()},
    ],
    ids=["metric name", "metric", "loss name", "loss"],
)
def test_losses_and_metrics_for_one_hot_labels_are_refused_with_integers(
    options, pretrained, labeled_images
):
    with pytest.raises(ValueError, match="A loss or metric does not fit integer labels"):
        fine_tune(pretrained, labeled_images, **options)


def test_losses_and_metrics_for_integers_are_refused_with_one_hot_labels(
    pretrained, labeled_images
):
    images, labels = labeled_images
    with pytest.raises(ValueError, match="does not fit one-hot labels"):
        fine_tune(pretrained, (images, np.eye(2)[labels]), loss="sparse_categorical_crossentropy")


def test_an_unknown_argument_is_refused(pretrained, labeled_images):
    with pytest.raises(TypeError, match="workers"):
        fine_tune(pretrained, labeled_images, workers=4)


@pytest.mark.every_backend
@pytest.mark.parametrize("form", ["arrays", "tf.data", "DataLoader"])
def test_sample_weights_of_zero_give_a_loss_of_zero(form, pretrained, labeled_images):
    weights = np.zeros(24, "float32")
    options = {"augmenter": None, "epochs": 1, "verbose": 0}
    if form == "arrays":
        classifier = pretrained.fine_tune(*labeled_images, sample_weight=weights, **options)
    else:
        data = labeled_datasets(*labeled_images, weights)[form]
        classifier = pretrained.fine_tune(data, **options)
    assert classifier.history.history["loss"] == [0.0]


@pytest.mark.usefixtures("compiled")
def test_sample_weights_decide_what_is_learned(pretrained, labeled_images):
    images, labels = labeled_images
    weights = (labels == 0).astype("float32")
    classifier = pretrained.fine_tune(
        images, labels, sample_weight=weights, optimizer=keras.optimizers.Adam(0.05), verbose=0
    )
    assert (classifier.predict(images, verbose=0).argmax(1) == 0).all()


@pytest.mark.parametrize("weights", [np.ones(3), -np.ones(24), np.full(24, np.nan)])
def test_invalid_sample_weights_are_refused(weights, pretrained, labeled_images):
    with pytest.raises(ValueError, match="one non-negative number per image"):
        fine_tune(pretrained, labeled_images, sample_weight=weights)


def test_class_weights_with_sample_weights_are_refused(pretrained, labeled_images):
    with pytest.raises(ValueError, match="`class_weight` works neither"):
        fine_tune(
            pretrained, labeled_images, sample_weight=np.ones(24), class_weight={0: 1.0, 1: 2.0}
        )


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_an_image_may_have_several_classes_with_multi_label(pretrained, labeled_images):
    images, labels = labeled_images
    rows = np.stack([labels == 0, labels == 1, np.ones(24)], axis=1).astype("float32")
    rows[0] = 0
    classifier = pretrained.fine_tune(
        images,
        rows,
        multi_label=True,
        augmenter=None,
        optimizer=keras.optimizers.Adam(0.01),
        verbose=0,
    )
    probabilities = classifier.predict(images, verbose=0)
    assert ((probabilities > 0.5) == (rows > 0.5)).mean() > 0.9
    assert probabilities.sum(axis=1).max() > 1.2


def test_rows_of_several_classes_are_refused_without_multi_label(pretrained, labeled_images):
    rows = np.ones((24, 3), "float32")
    with pytest.raises(ValueError, match="Pass `multi_label=True`"):
        fine_tune(pretrained, (labeled_images[0], rows))


def test_zero_epochs_return_the_linear_probe(pretrained, labeled_images):
    classifier = fine_tune(pretrained, labeled_images, epochs=0)
    assert int(classifier.optimizer.iterations) == 0
    assert classifier.evaluate(*labeled_images, verbose=0)[1] > 0.6


@pytest.mark.every_backend
def test_layers_that_are_frozen_in_the_model_stay_frozen(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    model.backbone.layers[1].trainable = False
    classifier = fine_tune(model, labeled_images)
    copied = classifier.get_layer("encoder").get_layer(model.backbone.name).layers
    assert not copied[1].trainable and copied[2].trainable
    np.testing.assert_array_equal(copied[1].kernel, model.backbone.layers[1].kernel)
    assert model.backbone.layers[2].trainable


def test_freezing_the_backbone_does_not_change_the_flags_of_the_model(pretrained, labeled_images):
    fine_tune(pretrained, labeled_images, freeze_backbone=True, epochs=1)
    assert all(layer.trainable for layer in pretrained.backbone.layers)


def test_callbacks_that_set_the_learning_rate_are_refused_with_a_schedule(
    pretrained, labeled_images
):
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10)
    with pytest.raises(ValueError, match="sets the learning rate, which is a schedule"):
        fine_tune(pretrained, labeled_images, callbacks=plateau)
    classifier = fine_tune(
        pretrained, labeled_images, callbacks=plateau, epochs=4, optimizer=keras.optimizers.SGD(0.1)
    )
    assert float(classifier.optimizer.learning_rate) < 0.1


@pytest.mark.every_backend
def test_a_loss_that_is_not_finite_raises(pretrained, labeled_images):
    with pytest.raises(ArithmeticError, match="loss became"):
        fine_tune(pretrained, labeled_images, epochs=5, optimizer=keras.optimizers.SGD(1e30))


def test_epochs_already_done_are_skipped(pretrained, labeled_images):
    classifier = fine_tune(pretrained, labeled_images, epochs=3, initial_epoch=2)
    assert classifier.history.epoch == [2]


def test_validation_labels_of_another_form_are_refused(pretrained, labeled_images):
    images, labels = labeled_images
    with pytest.raises(ValueError, match="the same form"):
        fine_tune(pretrained, labeled_images, validation_data=(images, np.eye(2)[labels]))


@pytest.mark.parametrize(
    "labels, message", [(lambda y: y + 3, "below"), (lambda y: np.eye(2)[y], "the same form")]
)
def test_labels_of_a_validation_dataset_are_checked(labels, message, pretrained, labeled_images):
    images, targets = labeled_images
    validation = ArrayDataset(images, labels(targets), batch_size=8)
    with pytest.raises(ValueError, match=message):
        fine_tune(pretrained, labeled_images, validation_data=validation)


def test_a_validation_dataset_without_labels_is_refused(pretrained, labeled_images):
    validation = ArrayDataset(labeled_images[0], batch_size=8)
    with pytest.raises(ValueError, match="Validation needs"):
        fine_tune(pretrained, labeled_images, validation_data=validation)
