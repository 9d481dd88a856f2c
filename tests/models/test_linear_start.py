import keras
import numpy as np
import pytest

from keras_simclr.models import fine_tuning
from keras_simclr.optimizers import recipes

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


def at_the_start(model, images, labels, **arguments):
    """Return the classifier before its first step."""
    still = {"optimizer": keras.optimizers.SGD(0.0), "freeze_backbone": True, "epochs": 1}
    return model.fine_tune(images, labels, augmenter=None, verbose=0, **still, **arguments)


@pytest.mark.every_backend
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("form", ["integers", "one-hot"])
def test_the_logits_start_as_a_linear_probe(form, classes, pretrained, labeled_images):
    images = labeled_images[0]
    features = pretrained.predict(images, verbose=0)
    strongest = features[:, features.std(0).argmax()]
    labels = strongest.argsort().argsort() * classes // 24  # what one feature shows
    given = np.eye(classes)[labels] if form == "one-hot" else labels
    found = at_the_start(pretrained, images, given).predict(images, verbose=0)
    assert (found.argmax(1) == labels).mean() >= 0.8


def test_features_that_hardly_vary_are_not_scaled_up(pretrained, labeled_images):
    kernel, _ = at_the_start(pretrained, *labeled_images).get_layer("logits").get_weights()
    spread = pretrained.predict(labeled_images[0], verbose=0).std(0)
    assert np.abs(kernel).max() < 10 / spread.max()


def test_the_batches_of_a_dataset_are_probed_together(pretrained, labeled_images):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(labeled_images).batch(8)
    from_dataset = at_the_start(pretrained, data, None)
    from_arrays = at_the_start(pretrained, *labeled_images)
    np.testing.assert_allclose(
        from_dataset.get_weights()[-1], from_arrays.get_weights()[-1], atol=1e-3
    )


def test_the_labels_of_the_last_short_batch_are_used(pretrained, labeled_images):
    found = at_the_start(pretrained, *labeled_images, batch_size=16).get_weights()[-1]
    expected = at_the_start(pretrained, *labeled_images).get_weights()[-1]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_logits_of_a_class_without_labels_start_at_zero(pretrained, labeled_images):
    classifier = at_the_start(pretrained, *labeled_images, num_classes=4)
    kernel, bias = classifier.get_layer("logits").get_weights()
    assert np.abs(kernel[:, :2]).max() > 0.01
    assert not kernel[:, 2:].any() and not bias[2:].any()


def test_the_features_of_the_middle_layer_are_probed_if_it_is_kept(pretrained, labeled_images):
    classifier = at_the_start(pretrained, *labeled_images, projection_layers=1)
    assert classifier.evaluate(*labeled_images, verbose=0)[1] > 0.6


def test_class_weights_are_used(pretrained, labeled_images):
    classifier = at_the_start(pretrained, *labeled_images, class_weight={0: 1.0, 1: 1e-6})
    assert (classifier.predict(labeled_images[0], verbose=0).argmax(1) == 0).all()


def test_a_class_weight_without_labels_is_ignored(pretrained, labeled_images):
    weights = {0: 1.0, 3: 5.0}  # and none for class 1
    found = at_the_start(pretrained, *labeled_images, num_classes=4, class_weight=weights)
    plain = at_the_start(pretrained, *labeled_images, num_classes=4)
    np.testing.assert_allclose(found.get_weights()[-1], plain.get_weights()[-1], atol=1e-5)


@pytest.mark.filterwarnings("ignore:This model was not pretrained")
def test_without_pretraining_the_logits_start_at_random(make_model, labeled_images):
    kernel, bias = at_the_start(make_model(), *labeled_images).get_layer("logits").get_weights()
    assert 0 < np.abs(kernel).max() < 0.05 and not bias.any()


def test_with_many_labels_the_logits_start_at_random(pretrained, labeled_images, monkeypatch):
    monkeypatch.setattr(recipes, "MANY_LABELS", 24)
    kernel, _ = at_the_start(pretrained, *labeled_images).get_layer("logits").get_weights()
    assert 0 < np.abs(kernel).max() < 0.05


class LastWeights(keras.callbacks.Callback):
    """Keep the weights at the end of training."""

    def on_train_end(self, logs=None):
        self.weights = self.model.get_weights()


@pytest.mark.every_backend
@pytest.mark.parametrize("optimizer", ["auto", "adamw"])
def test_with_the_recipe_the_weights_end_halfway_between_start_and_end(
    optimizer, pretrained, labeled_images
):
    start = pretrained.fine_tune(*labeled_images, epochs=0, verbose=0).get_weights()
    last = LastWeights()
    options = {"epochs": 2, "steps_per_epoch": 3, "callbacks": last, "verbose": 0}
    found = pretrained.fine_tune(*labeled_images, optimizer=optimizer, **options).get_weights()
    assert max(np.abs(b - e).max() for b, e in zip(start, last.weights, strict=True)) > 1e-3
    for begin, end, weights in zip(start, last.weights, found, strict=True):
        expected = (begin + end) / 2 if optimizer == "auto" else end
        np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_few_labels_are_trained_on_large_crops(monkeypatch, pretrained, labeled_images):
    created = []
    create = fine_tuning.fine_tuning_views
    monkeypatch.setattr(
        fine_tuning, "fine_tuning_views", lambda *given: created.append(given[4]) or create(*given)
    )
    pretrained.fine_tune(*labeled_images, epochs=0, verbose=0)
    monkeypatch.setattr(recipes, "MANY_LABELS", 10)
    pretrained.fine_tune(*labeled_images, epochs=0, verbose=0)
    assert created == [0.6, 0.0]
