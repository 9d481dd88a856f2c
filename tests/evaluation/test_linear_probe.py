import json

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_simclr.evaluation import linear_probe

pytestmark = pytest.mark.once


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
    assert probe.pipeline[-1].n_iter_[0] == 1


def test_tensors_and_a_column_of_labels_are_accepted(data):
    features, labels = (keras.ops.convert_to_tensor(array) for array in data)
    assert linear_probe(features, labels[:, None]).score(*data) == 1.0


def test_features_of_another_rank_are_refused(data):
    with pytest.raises(ValueError, match=r"one row per image. Received: shape=\(60, 2, 4\)"):
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
    with pytest.raises(
        ValueError, match="The labels must have at least 2 classes.*only 1 in 60 labels"
    ):
        linear_probe(data[0], [1] * 60)


@pytest.fixture
def noisy(rng):
    """Return many noisy features, with which a strong penalty is best."""
    labels = np.arange(240) % 3
    return rng.normal(size=(240, 100)) + 1.2 * np.eye(3, 100)[labels], labels


def test_the_probe_is_that_of_scikit_learn(noisy):
    ours = linear_probe(*noisy, C=0.1)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    features = noisy[0].astype("float32")
    expected = theirs.fit(features, noisy[1]).predict_proba(features)
    np.testing.assert_allclose(ours.predict_proba(noisy[0]), expected, atol=1e-4)


def test_the_penalty_is_chosen_on_labels_that_are_held_out(noisy):
    probe = linear_probe(*noisy, C="auto")
    best = max(probe.held_out.values())
    assert probe.held_out[probe.C] == best
    assert 1e-5 < probe.C < 1 and best > probe.held_out[max(probe.held_out)]
    expected = linear_probe(*noisy, C=probe.C).predict_proba(noisy[0])  # fitted to all labels
    np.testing.assert_allclose(probe.predict_proba(noisy[0]), expected, atol=1e-6)


def test_held_out_accuracies_are_those_without_warm_starts(noisy):
    """Every fit starts anew; the held-out labels are found by what the probe must not see."""
    features, labels = noisy
    probe = linear_probe(features, labels, C="auto", seed=3)
    rng = np.random.default_rng(3)
    held = np.concatenate(
        [rng.choice(np.flatnonzero(labels == label), 16, replace=False) for label in range(3)]
    )
    rest = np.setdiff1d(np.arange(240), held)
    for C, accuracy in probe.held_out.items():
        alone = linear_probe(features[rest], labels[rest], C=C)
        assert alone.score(features[held], labels[held]) == pytest.approx(accuracy, abs=0.03)


def test_the_search_ends_when_weaker_penalties_do_worse(noisy):
    assert len(linear_probe(*noisy, C="auto").held_out) < 10


def test_a_probe_names_its_protocol_and_prints(noisy):
    probe = linear_probe(*noisy, C="auto")
    lines = str(probe).splitlines()
    assert lines[0].endswith("240 labels, C chosen on 20% of the labels")
    assert len(lines) == 2 + len(probe.held_out)
    assert "C given" in str(linear_probe(*noisy))


def test_a_probe_converts_to_json(data):
    assert json.loads(json.dumps(linear_probe(*data).to_dict()))["num_labels"] == 60


def test_a_class_with_one_label_cannot_choose_the_penalty(data):
    features, labels = data
    with pytest.raises(ValueError, match="at least 2 labels per class.*1 label of class 7"):
        linear_probe(features, np.append(labels[:-1], 7), C="auto")


@pytest.mark.parametrize("C", [0, -1.0, "best"])
def test_other_penalties_are_refused(C, data):
    with pytest.raises(ValueError, match='`C` must be positive.*Or pass "auto"'):
        linear_probe(*data, C=C)
