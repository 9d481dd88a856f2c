import pytest

from keras_simclr.datasets.label_file import read_label_file

pytestmark = pytest.mark.once


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "b.jpg", "line\nbreak, 猫.jpg"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def labels(root, text, encoding="utf-8"):
    (root / "labels.csv").write_text(text, encoding)
    found = read_label_file(root / "labels.csv", root)
    return {path.removeprefix(f"{root}/"): label for path, label in found.items()}


@pytest.mark.parametrize("header", ["", "path,label\n", "Filename,Label\n"])
def test_labels_are_read_with_or_without_a_header(root, header):
    assert labels(root, f"{header}a.jpg,cat\nb.jpg, dog\n") == {"a.jpg": "cat", "b.jpg": "dog"}


def test_the_mark_that_spreadsheets_write_is_left_out(root):
    assert labels(root, "a.jpg,cat\n", "utf-8-sig") == {"a.jpg": "cat"}


def test_quoted_names_may_have_line_breaks_and_commas(root):
    assert labels(root, '"line\nbreak, 猫.jpg",cat\n') == {"line\nbreak, 猫.jpg": "cat"}


def test_absolute_paths_are_taken_as_they_are(root):
    assert labels(root, f"{root / 'a.jpg'},cat\n") == {"a.jpg": "cat"}


def test_a_row_may_occur_twice(root):
    assert labels(root, "a.jpg,cat\n./a.jpg,cat\n") == {"a.jpg": "cat"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.jpg,cat\nc.jpg,dog\n", "1 wrong rows .*row 2: 'c.jpg' does not exist"),
        ("a.jpg,cat\na.jpg,dog\n", "'a.jpg' has the labels 'cat' and 'dog'"),
        ("a.jpg,cat\nb.jpg, \n", "'b.jpg' has no label"),
        ("a.jpg\n", "1 columns instead of 2"),
        ("path,label\n", "no rows"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(root, text, words):
    with pytest.raises(ValueError, match=words):
        labels(root, text)


def test_a_file_that_does_not_exist_is_refused(root):
    with pytest.raises(ValueError, match="cannot be read.*No such file"):
        read_label_file(root / "none.csv", root)


def test_a_quotation_mark_that_is_not_closed_is_refused(root):
    (root / "labels.csv").write_text('a.png,"cat\nb.png,dog\n')
    with pytest.raises(ValueError, match="quotation mark that is not closed"):
        read_label_file(root / "labels.csv", root)
