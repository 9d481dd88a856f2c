import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_simclr.training.batches import ArrayBatches


def fine_tune(model, pictures, **arguments):
    return model.fine_tune(*pictures, **{"epochs": 2, "verbose": 0, **arguments})


def test_the_classifier_learns_the_labels(pretrained, pictures):
    adam = keras.optimizers.Adam(0.01)
    classifier = pretrained.fine_tune(*pictures, optimizer=adam, augmenter=None, verbose=0)
    assert classifier.evaluate(*pictures, verbose=0)[1] > 0.9


def test_the_classifier_gives_probabilities(pretrained, pictures):
    probabilities = fine_tune(pretrained, pictures).predict(pictures[0], verbose=0)
    assert probabilities.shape == (24, 2) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_fine_tuning_never_changes_the_model(pretrained, pictures):
    before = [np.array(w) for w in pretrained.get_weights()]
    fine_tune(pretrained, pictures, projection_layers=1)
    for a, b in zip(before, pretrained.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fine_tuning_changes_the_classifiers_encoder(pretrained, pictures):
    classifier = fine_tune(pretrained, pictures)
    pairs = zip(
        classifier.get_layer("encoder").get_weights(), pretrained.encoder.get_weights(), strict=True
    )
    assert all(not np.array_equal(a, b) for a, b in pairs)


def test_a_frozen_encoder_keeps_weights_and_statistics(pretrained, pictures):
    classifier = fine_tune(pretrained, pictures, freeze_backbone=True)
    encoder = classifier.get_layer("encoder")
    assert len(classifier.trainable_weights) == 2
    for a, b in zip(encoder.get_weights(), pretrained.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_middle_of_the_head_can_be_kept(pretrained, pictures):
    classifier = fine_tune(pretrained, pictures, projection_layers=1, epochs=1, augmenter=None)
    names = [layer.name for layer in classifier.layers]
    assert names == ["images", "encoder", "dense_0", "bn_0", "relu_0", "logits", "probabilities"]


def test_it_starts_from_the_weights_of_the_head(pretrained, pictures):
    still = keras.optimizers.SGD(0.0)
    classifier = fine_tune(pretrained, pictures, projection_layers=1, optimizer=still)
    np.testing.assert_array_equal(
        classifier.get_layer("dense_0").kernel, pretrained.projection_head.stack[0].kernel
    )


def test_more_layers_than_the_head_has_are_refused(pretrained, pictures):
    with pytest.raises(ValueError, match="`projection_layers` must be at most"):
        fine_tune(pretrained, pictures, projection_layers=3)


def test_the_model_keeps_the_latest_classifier(make_model, pictures):
    model = make_model()
    model.fit(pictures[0], verbose=0)
    assert model.classifier is None
    assert fine_tune(model, pictures) is model.classifier


def test_the_classifier_is_not_saved_with_the_model(pretrained, pictures, tmp_path):
    fine_tune(pretrained, pictures)
    pretrained.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").classifier is None


def test_the_classifier_opens_without_this_package(pretrained, pictures, tmp_path):
    classifier = fine_tune(pretrained, pictures)
    classifier.save(tmp_path / "classifier.keras")
    np.save(tmp_path / "images.npy", pictures[0])
    code = f"""
import sys
sys.modules["keras_simclr"] = None
import keras, numpy as np
model = keras.models.load_model(r"{tmp_path}/classifier.keras")
np.save(r"{tmp_path}/found.npy", model.predict(np.load(r"{tmp_path}/images.npy"), verbose=0))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "found.npy"), classifier.predict(pictures[0], verbose=0), rtol=1e-4
    )


@pytest.mark.parametrize("form", ["one-hot", "column", "list"])
def test_labels_come_in_the_form_of(form, pretrained, pictures):
    images, labels = pictures
    forms = {"one-hot": np.eye(2)[labels], "column": labels[:, None], "list": list(labels)}
    assert fine_tune(pretrained, (images, forms[form])).output_shape == (None, 2)


def labelled_datasets(images, labels):
    import tensorflow as tf
    import torch

    tensors = torch.utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))
    return {
        "tf.data": tf.data.Dataset.from_tensor_slices((images, labels)).batch(8),
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=8),
        "PyDataset": ArrayBatches(images, labels, batch_size=8),
    }


@pytest.mark.parametrize("kind", ["tf.data", "DataLoader", "PyDataset"])
def test_labelled_pictures_come_from(kind, pretrained, pictures):
    classifier = pretrained.fine_tune(labelled_datasets(*pictures)[kind], epochs=2, verbose=0)
    assert int(classifier.optimizer.iterations) == 6


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 300), ({"batch_size": 64}, 300), ({"epochs": 3}, 3), ({"freeze_backbone": True}, 100)],
)
def test_few_pictures_take_as_many_steps_as(options, steps, pretrained, pictures):
    classifier = pretrained.fine_tune(*pictures, augmenter=None, verbose=0, **options)
    assert int(classifier.optimizer.iterations) == steps


def test_folders_of_classes_bring_their_names(pretrained, pictures, tmp_path):
    for index, picture in enumerate(pictures[0]):
        folder = tmp_path / ("cats", "dogs", "empty")[index % 2]
        folder.mkdir(exist_ok=True)
        keras.utils.save_img(folder / f"{index}.png", picture)
    (tmp_path / "empty").mkdir()
    data = keras.utils.image_dataset_from_directory(tmp_path, image_size=(12, 12), verbose=False)
    classifier = pretrained.fine_tune(data, epochs=1, verbose=0)
    assert classifier.output_shape == (None, 3)


def test_validation_data_and_callbacks_act_on_the_classifier(pretrained, pictures, tmp_path):
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1e9)
    classifier = fine_tune(
        pretrained, pictures, epochs=9, validation_data=pictures, callbacks=[best, stop]
    )
    assert len(classifier.history.history["val_accuracy"]) == 2
    assert (tmp_path / "best.keras").exists()


def test_class_weights_act_on_the_classifier(pretrained, pictures):
    classifier = pretrained.fine_tune(
        *pictures,
        class_weight={0: 1.0, 1: 0.0},
        optimizer=keras.optimizers.Adam(0.05),
        epochs=20,
        verbose=0,
    )
    assert (classifier.predict(pictures[0], verbose=0).argmax(1) == 0).all()


def test_fine_tuning_sees_views(pretrained, pictures):
    """The loss of the very first step is not that of the pictures as they are."""
    still = {"optimizer": keras.optimizers.SGD(0.0), "freeze_backbone": True, "epochs": 1}
    with_views = fine_tune(pretrained, pictures, **still)
    without = fine_tune(
        pretrained, pictures, augmenter=None, **{**still, "optimizer": keras.optimizers.SGD(0.0)}
    )
    assert with_views.history.history["loss"] != without.history.history["loss"]


def test_an_augmenter_that_cannot_be_compiled_serves_too(pretrained, pictures):
    turned = keras.layers.RandomRotation(0.1, seed=1)
    classifier = fine_tune(pretrained, pictures, augmenter=turned, epochs=1)
    assert np.isfinite(classifier.history.history["loss"]).all()


def test_fine_tuning_is_repeatable(pretrained, pictures):
    one, other = fine_tune(pretrained, pictures), fine_tune(pretrained, pictures)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fine_tuning_before_pretraining_is_allowed_with_a_warning(make_model, pictures):
    with pytest.warns(UserWarning, match="not pretrained"):
        fine_tune(make_model(), pictures)


BAD_LABELS = {
    "missing": (None, "Labels are missing"),
    "fractional": (np.arange(24) / 2, "whole numbers"),
    "negative": (np.arange(24) % 3 - 1, "must not be negative"),
    "starting at 1": (np.arange(24) % 3 + 1, "must begin at 0"),
    "of one class": (np.zeros(24, int), "At least 2 classes"),
    "too few": (np.arange(20) % 2, "24 pictures, but 20 labels"),
    "text": (np.array(["cat", "dog"] * 12), "must be numbers"),
    "views": (np.zeros((24, 12, 12, 3)), "second views"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_are_refused_that_are(case, pretrained, pictures):
    labels, message = BAD_LABELS[case]
    with pytest.raises(ValueError, match=message):
        fine_tune(pretrained, (pictures[0], labels))


def test_too_small_a_number_of_classes_is_refused(pretrained, pictures):
    with pytest.raises(ValueError, match="below `num_classes`"):
        fine_tune(pretrained, (pictures[0], np.arange(24) % 3), num_classes=2)


def test_an_endless_dataset_asks_for_the_number_of_classes(pretrained, pictures):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(pictures).repeat().batch(8)
    with pytest.raises(ValueError, match="`num_classes`"):
        pretrained.fine_tune(data, steps_per_epoch=2)


def test_a_dataset_without_labels_is_refused(pretrained, pictures):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(pictures[0]).batch(8)
    with pytest.raises(ValueError, match="without labels"):
        pretrained.fine_tune(data)
