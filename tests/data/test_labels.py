import numpy as np
import pytest

from keras_simclr.data.labels import check_labels, classes_of_dataset, count_classes

ROWS = np.eye(3)[np.arange(6) % 3]

BAD = {
    "missing": (None, "needs labels. Received: images without"),
    "fractional": (np.arange(24) / 2, "must be integers"),
    "infinite": (np.full(24, np.inf), "must be integers. Received: \\[inf"),
    "negative": (np.arange(24) % 3 - 1, "must not be negative"),
    "starting at 1": (np.arange(24) % 3 + 1, "must start at 0"),
    "of one class": (np.zeros(24, int), "Labels must contain at least 2"),
    "too few": (np.arange(20) % 2, "24 images and 20 labels"),
    "text": (np.array(["cat", "dog"] * 12), "must be numbers"),
    "views": (np.zeros((24, 12, 12, 3)), "second views"),
    "of several classes": (np.ones((24, 3)), "Pass `multi_label=True`"),
    "of no class": (np.zeros((24, 3)), "Pass `multi_label=True`"),
    "rows out of range": (np.full((24, 3), 2), "numbers in \\[0, 1\\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_labels_are_refused_if_they_are(case):
    labels, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        check_labels(labels, count=24)


@pytest.mark.parametrize("form", ["list", "column", "float", "big-endian", "bool"])
def test_integer_labels_are_accepted_as(form):
    labels = np.arange(6) % 2
    forms = {
        "list": list(labels),
        "column": labels[:, None],
        "float": labels.astype("float32"),
        "big-endian": labels.astype(">i4"),
        "bool": labels.astype(bool),
    }
    found = check_labels(forms[form])
    assert found.dtype == np.int64 and found.tolist() == labels.tolist()


def test_one_hot_rows_and_soft_labels_stay_rows():
    np.testing.assert_array_equal(check_labels(ROWS), ROWS)
    soft = 0.9 * ROWS + 0.1 / 3
    np.testing.assert_allclose(check_labels(soft), soft, rtol=1e-6)


def test_an_image_may_have_several_classes_with_multi_label():
    rows = np.array([[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(check_labels(rows, multi_label=True), rows)


def test_integer_labels_are_refused_with_multi_label():
    with pytest.raises(ValueError, match="rows of zeros and ones"):
        check_labels(np.arange(4), multi_label=True)


def test_labels_beyond_the_number_of_classes_are_refused():
    with pytest.raises(ValueError, match="Labels must be below `num_classes`"):
        check_labels(np.arange(3), num_classes=2)
    with pytest.raises(ValueError, match="`num_classes` columns"):
        check_labels(ROWS, num_classes=2)


def test_a_batch_may_contain_a_single_class():
    assert check_labels(np.ones(4, int), num_classes=3, is_batch=True).tolist() == [1, 1, 1, 1]


def test_classes_are_counted():
    assert count_classes(np.array([0, 3])) == 4
    assert count_classes(ROWS) == 3


def test_the_classes_of_a_dataset_are_those_of_all_its_labels():
    batches = [(None, np.array([0, 1])), (None, np.array([0, 4]))]
    assert classes_of_dataset(batches, np.array([0, 1])) == 5
