import keras
import numpy as np
import pytest

from keras_simclr.evaluation import knn_accuracy


def reference(bank, labels, queries, answers, k, temperature):
    """Return the accuracy by the definition, a test row at a time."""
    right = 0
    for query, answer in zip(queries, answers, strict=True):
        cosines = bank @ query / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
        votes = {}
        for i in np.argsort(-cosines)[:k]:
            votes[labels[i]] = votes.get(labels[i], 0) + np.exp(cosines[i] / temperature)
        right += max(votes, key=votes.get) == answer
    return right / len(queries)


@pytest.fixture
def data(rng):
    """Return three noisy classes: a bank of 90 and 50 to find."""
    centres = rng.normal(size=(3, 16))
    labels, answers = rng.integers(0, 3, 90), rng.integers(0, 3, 50)
    bank = centres[labels] + 2.5 * rng.normal(size=(90, 16))
    queries = centres[answers] + 2.5 * rng.normal(size=(50, 16))
    return bank, labels, queries, answers


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_accuracy_is_that_of_the_definition(k, temperature, data):
    expected = reference(*data, k, temperature)
    assert 0.3 < expected < 1
    assert knn_accuracy(*data, k=k, temperature=temperature) == expected


def test_a_near_neighbour_outweighs_two_that_are_far():
    bank = [[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]]
    data = bank, [7, 3, 3], [[1.0, 0.0]], [7]
    # exp(1 / 0.1) = 22026 against 2 exp(0.8 / 0.1) = 5962; exp(1) = 2.7 against 2 exp(0.8) = 4.5
    assert knn_accuracy(*data, k=3, temperature=0.1) == 1.0
    assert knn_accuracy(*data, k=3, temperature=1.0) == 0.0


def test_only_k_neighbours_vote():
    bank = [[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]]
    assert knn_accuracy(bank, [7, 3, 3], [[1.0, 0.0]], [7], k=1, temperature=1.0) == 1.0


def test_lengths_of_features_do_not_matter(data, rng):
    bank, labels, queries, answers = data
    scaled = bank * rng.uniform(0.1, 10, (90, 1)), labels, queries * 100, answers
    assert knn_accuracy(*scaled, k=7) == knn_accuracy(*data, k=7)


@pytest.mark.parametrize("block_size", [1, 16, 50, 1000])
def test_blocks_change_nothing(block_size, data):
    assert knn_accuracy(*data, k=7, block_size=block_size) == reference(*data, 7, 0.1)


def test_a_bank_smaller_than_k_votes_whole(data):
    assert knn_accuracy(*data, k=200) == reference(*data, 90, 0.1)


def test_a_small_temperature_stays_finite(data):
    assert knn_accuracy(*data, k=90, temperature=1e-4) == reference(*data, 1, 1.0)


def test_classes_may_have_any_names(data):
    bank, labels, queries, answers = data
    names = np.array(["ship", "cat", "dog"])
    assert knn_accuracy(bank, names[labels], queries, names[answers], k=7) == knn_accuracy(
        *data, k=7
    )


def test_a_class_that_the_bank_lacks_is_wrong(data):
    bank, labels, queries, answers = data
    assert knn_accuracy(bank, labels, queries, np.full(50, 9)) == 0.0


def test_tensors_of_the_backend_are_taken(data):
    tensors = [keras.ops.convert_to_tensor(array) for array in data]
    assert knn_accuracy(*tensors, k=7) == reference(*data, 7, 0.1)


def test_the_result_is_a_plain_float(data):
    assert type(knn_accuracy(*data)) is float


@pytest.mark.parametrize("argument", ["k", "temperature", "block_size"])
def test_arguments_must_be_positive(argument, data):
    with pytest.raises(ValueError, match=f"`{argument}` must be positive. Received: {argument}=0"):
        knn_accuracy(*data, **{argument: 0})


def test_features_of_another_dimension_are_refused(data):
    bank, labels, queries, answers = data
    with pytest.raises(ValueError, match="16 in train_features and 8 in test_features"):
        knn_accuracy(bank, labels, queries[:, :8], answers)


def test_too_few_labels_are_refused(data):
    bank, labels, queries, answers = data
    with pytest.raises(ValueError, match=r"test_features.*50 rows and labels of shape=\(49,\)"):
        knn_accuracy(bank, labels, queries, answers[:-1])


def test_a_bank_of_one_class_is_refused(data):
    bank, labels, queries, answers = data
    with pytest.raises(ValueError, match="At least 2 classes"):
        knn_accuracy(bank, np.zeros(90), queries, answers)
