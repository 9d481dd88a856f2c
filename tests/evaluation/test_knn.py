import keras
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from keras_simclr.evaluation import knn_accuracy, knn_predict
from keras_simclr.ops import nearest


def reference(bank, labels, queries, answers, k, temperature):
    """Compute the accuracy by its definition, one test row at a time."""
    correct = 0
    for query, answer in zip(queries, answers, strict=True):
        cosines = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
        votes = {}
        for i in np.argsort(-cosines)[:k]:
            votes[labels[i]] = votes.get(labels[i], 0) + np.exp(cosines[i] / temperature)
        correct += max(votes, key=votes.get) == answer
    return correct / len(queries)


@pytest.fixture
def data(rng):
    """Return three noisy classes: a bank of 90 rows and 50 test rows."""
    centers = rng.normal(size=(3, 16))
    labels, answers = rng.integers(0, 3, 90), rng.integers(0, 3, 50)
    bank = centers[labels] + 2.5 * rng.normal(size=(90, 16))
    queries = centers[answers] + 2.5 * rng.normal(size=(50, 16))
    return bank, labels, queries, answers


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_accuracy_is_that_of_the_definition(k, temperature, data):
    expected = reference(*data, k, temperature)
    assert 0.3 < expected < 1
    assert knn_accuracy(*data, k=k, temperature=temperature) == expected


def test_a_near_neighbor_outweighs_two_distant_ones():
    bank = [[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]]
    data = bank, [7, 3, 3], [[1.0, 0.0]], [7]
    # exp(1 / 0.1) = 22026 against 2 exp(0.8 / 0.1) = 5962; exp(1) = 2.7 against 2 exp(0.8) = 4.5
    assert knn_accuracy(*data, k=3, temperature=0.1) == 1.0
    assert knn_accuracy(*data, k=3, temperature=1.0) == 0.0


def test_only_k_neighbors_vote():
    bank = [[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]]
    assert knn_accuracy(bank, [7, 3, 3], [[1.0, 0.0]], [7], k=1, temperature=1.0) == 1.0


def test_the_length_of_features_does_not_matter(data, rng):
    bank, labels, queries, answers = data
    scaled = bank * rng.uniform(0.1, 10, (90, 1)), labels, queries * 100, answers
    assert knn_accuracy(*scaled, k=7) == knn_accuracy(*data, k=7)


@pytest.mark.parametrize("chunk_size", [1, 16, 50, 1000])
def test_the_accuracy_does_not_depend_on_the_chunks(chunk_size, data):
    assert knn_accuracy(*data, k=7, chunk_size=chunk_size) == reference(*data, 7, 0.1)


def test_all_rows_of_a_bank_smaller_than_k_vote(data):
    assert knn_accuracy(*data, k=200) == reference(*data, 90, 0.1)


def test_by_default_the_square_root_of_the_bank_votes(data):
    expected = reference(*data, 9, 0.1)  # of 90 rows
    assert expected not in (reference(*data, 1, 0.1), reference(*data, 90, 0.1))
    assert knn_accuracy(*data) == expected


@pytest.mark.parametrize(("size", "k"), [(2, 1), (3, 2), (90, 9), (1347, 37), (40_000, 200)])
def test_the_default_k_grows_with_the_bank_up_to_200(size, k):
    features = np.ones((size, 1), "float32")
    assert knn_predict(features, np.arange(size) % 2, features[:1]).k == k


@pytest.mark.parametrize("k", [1, 12])
def test_predictions_are_those_of_scikit_learn(k, data, monkeypatch):
    monkeypatch.setattr(nearest, "BANK_CHUNK_SIZE", 32)
    bank, labels, queries, _ = data
    theirs = KNeighborsClassifier(
        k, metric="cosine", weights=lambda distances: np.exp((1 - distances) / 0.1)
    ).fit(bank, labels)
    ours = knn_predict(bank, labels, queries, k=k, chunk_size=16)
    np.testing.assert_array_equal(ours.labels, theirs.predict(queries))
    np.testing.assert_allclose(ours.probabilities, theirs.predict_proba(queries), atol=1e-4)


def test_predictions_name_their_protocol_and_print(data):
    bank, labels, queries, _ = data
    lines = str(knn_predict(bank, labels, queries, k=7)).splitlines()
    assert lines[0] == "Weighted vote of the 7 nearest of 90 by cosine similarity, temperature 0.1"
    assert lines[1].split() == ["class", "predicted"]
    assert sum(int(line.split()[1]) for line in lines[2:]) == 50


def test_a_low_temperature_stays_finite(data):
    assert knn_accuracy(*data, k=90, temperature=1e-4) == reference(*data, 1, 1.0)


def test_classes_may_be_strings(data):
    bank, labels, queries, answers = data
    names = np.array(["ship", "cat", "dog"])
    assert knn_accuracy(bank, names[labels], queries, names[answers], k=7) == knn_accuracy(
        *data, k=7
    )


def test_a_class_that_is_not_in_the_bank_is_wrong(data):
    bank, labels, queries, answers = data
    assert knn_accuracy(bank, labels, queries, np.full(50, 9)) == 0.0


def test_tensors_of_the_backend_are_accepted(data):
    tensors = [keras.ops.convert_to_tensor(array) for array in data]
    assert knn_accuracy(*tensors, k=7) == reference(*data, 7, 0.1)


def test_the_result_is_a_plain_float(data):
    assert type(knn_accuracy(*data)) is float


@pytest.mark.parametrize("argument", ["k", "temperature", "chunk_size"])
def test_arguments_must_be_positive(argument, data):
    with pytest.raises(
        ValueError, match=f"`{argument}` must be (a )?positive( integer)?. Received: {argument}=0"
    ):
        knn_accuracy(*data, **{argument: 0})


@pytest.mark.parametrize("argument", ["k", "chunk_size"])
def test_numbers_of_rows_must_be_integers(argument, data):
    with pytest.raises(ValueError, match=f"`{argument}` must be a positive integer"):
        knn_accuracy(*data, **{argument: 2.5})


def test_features_of_another_dimension_are_refused(data):
    bank, labels, queries, answers = data
    with pytest.raises(ValueError, match="16 in train_features and 8 in test_features"):
        knn_accuracy(bank, labels, queries[:, :8], answers)


def test_missing_labels_are_refused(data):
    bank, labels, queries, answers = data
    with pytest.raises(ValueError, match=r"test_features.*50 rows and labels of shape=\(49,\)"):
        knn_accuracy(bank, labels, queries, answers[:-1])


def test_a_bank_of_one_class_is_refused(data):
    bank, labels, queries, answers = data
    with pytest.raises(ValueError, match="at least 2 classes"):
        knn_accuracy(bank, np.zeros(90), queries, answers)


def test_names_and_numbers_are_not_compared():
    with pytest.raises(ValueError, match="both be names or both be numbers"):
        knn_accuracy(np.eye(2), [0, 1], np.eye(2), ["0", "1"])
