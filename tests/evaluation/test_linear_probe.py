import keras
import numpy as np
import pytest

from keras_simclr.evaluation import linear_probe


@pytest.fixture
def data(rng):
    labels = np.arange(60) % 3
    return (rng.normal(size=(3, 8))[labels] + 0.1 * rng.normal(size=(60, 8))), labels


def test_separable_classes_are_classified_correctly(data):
    features, labels = data
    probe = linear_probe(features[:30], labels[:30])
    assert probe.score(features[30:], labels[30:]) == 1.0
    assert probe.predict(features[30:]).tolist() == labels[30:].tolist()


def test_the_scale_of_a_feature_does_not_matter(data):
    features, labels = data
    scales = 10.0 ** np.arange(-3, 5)
    one, other = linear_probe(features, labels), linear_probe(features * scales, labels)
    np.testing.assert_allclose(
        one.predict_proba(features), other.predict_proba(features * scales), atol=1e-3
    )


def test_a_small_c_leads_to_equal_probabilities(data):
    weak, strong = linear_probe(*data, C=1.0), linear_probe(*data, C=1e-6)
    np.testing.assert_allclose(strong.predict_proba(data[0]), 1 / 3, atol=0.01)
    assert weak.predict_proba(data[0]).max() > 0.9


def test_max_iter_limits_the_solver(data):
    with pytest.warns(Warning, match="failed to converge"):
        probe = linear_probe(*data, max_iter=1)
    assert probe[-1].n_iter_[0] == 1


def test_tensors_and_a_column_of_labels_are_accepted(data):
    features, labels = (keras.ops.convert_to_tensor(array) for array in data)
    assert linear_probe(features, labels[:, None]).score(*data) == 1.0


def test_features_of_another_rank_are_refused(data):
    with pytest.raises(ValueError, match=r"\(N, D\).*Received: shape=\(60, 2, 4\)"):
        linear_probe(data[0].reshape(60, 2, 4), data[1])


def test_empty_features_are_refused():
    with pytest.raises(ValueError, match=r"Received: shape=\(0, 8\)"):
        linear_probe(np.zeros((0, 8)), [])


def test_one_hot_labels_are_refused_with_the_cure(data):
    with pytest.raises(ValueError, match=r"shape=\(60, 3\). Use `labels.argmax"):
        linear_probe(data[0], np.eye(3)[data[1]])


def test_missing_labels_are_refused(data):
    with pytest.raises(ValueError, match=r"labels of shape=\(\)"):
        linear_probe(data[0], None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value, data):
    data[0][17, 3] = value
    with pytest.raises(ValueError, match="must be finite.*row 17"):
        linear_probe(*data)


def test_a_single_class_is_refused(data):
    with pytest.raises(ValueError, match="at least 2 classes.*only 1 in 60 labels"):
        linear_probe(data[0], [1] * 60)
