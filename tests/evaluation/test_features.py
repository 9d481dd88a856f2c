import keras
import numpy as np
import pytest

from keras_simclr.evaluation import embedding_health, knn_predict, linear_probe
from keras_simclr.evaluation.features import embedding

pytestmark = pytest.mark.usefixtures("eager")


def embed(model, images):
    with embedding(model) as function:
        return function(images)


def test_without_a_model_the_data_are_features(rng):
    features = rng.normal(size=(3, 2))
    assert embed(None, features) is features


@pytest.mark.parametrize("kind", ["SimCLR", "encoder", "saved SimCLR", "saved encoder"])
def test_features_come_from(kind, pretrained, labeled_images, tmp_path):
    images = labeled_images[0]
    part = pretrained.encoder if "encoder" in kind else pretrained
    if "saved" in kind:
        part.save(tmp_path / "saved.keras")
        part = str(tmp_path / "saved.keras")
    expected = keras.ops.convert_to_numpy(pretrained(images))
    np.testing.assert_allclose(embed(part, images), expected, atol=1e-5)


def test_the_history_of_the_model_stays(make_model, labeled_images):
    model = make_model()
    history = model.fit(labeled_images[0], verbose=0)
    embed(model, labeled_images[0])
    assert model.history is history


@pytest.mark.parametrize("model", [3, [1.0]])
def test_other_models_are_refused(model):
    with pytest.raises(ValueError, match="`model` must be a `SimCLR`, an encoder, or the path"):
        embed(model, np.zeros((2, 12, 12, 3)))


def test_a_model_without_weights_is_refused(make_model):
    with pytest.raises(ValueError, match="The model must be built first"):
        embed(make_model(), np.zeros((2, 12, 12, 3)))


def test_an_encoder_that_changes_is_an_error(pretrained, labeled_images):
    encoder = keras.models.clone_model(pretrained.encoder)
    statistics = [v for v in encoder.variables if "moving_mean" in v.path][0]
    message = "must not change the encoder.*Look for layers that ignore"
    with pytest.raises(RuntimeError, match=message), embedding(encoder) as function:
        function(labeled_images[0])
        statistics.assign(statistics + 1.0)


def test_results_of_images_are_those_of_their_features(pretrained, labeled_images):
    images, labels = labeled_images
    features = pretrained.predict(images, verbose=0)
    train, test = slice(0, 16), slice(16, 24)
    direct = knn_predict(features[train], labels[train], features[test])
    of_images = knn_predict(images[train], labels[train], images[test], model=pretrained)
    np.testing.assert_allclose(of_images.probabilities, direct.probabilities, atol=1e-5)
    probe = linear_probe(images[train], labels[train], model=pretrained)
    expected = linear_probe(features[train], labels[train]).predict_proba(features[test])
    np.testing.assert_allclose(probe.predict_proba(images[test]), expected, atol=1e-4)
    health = embedding_health(images, images[::-1], model=pretrained)
    again = embedding_health(features, features[::-1])
    assert health.effective_rank == pytest.approx(again.effective_rank, rel=1e-4)
    assert health.alignment == pytest.approx(again.alignment, rel=1e-3)
