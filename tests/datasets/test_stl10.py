import concurrent.futures
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_simclr.datasets import load_stl10

pytestmark = pytest.mark.once


@pytest.fixture
def data_dir(tmp_path, write_stl10):
    write_stl10(tmp_path / "stl10_binary", unlabeled=30, train=20, test=10)
    return tmp_path


@pytest.fixture
def published(server, archive, md5, tmp_path):
    """Return the arguments that download the small archive from the server."""
    server.content = archive.read_bytes()
    return {
        "data_dir": tmp_path,
        "download": True,
        "url": server.url,
        "archive_md5": md5(server.content),
    }


@pytest.mark.parametrize("split, count", [("unlabeled", 30), ("train", 20), ("test", 10)])
def test_images_are_channels_last_bytes(split, count, data_dir):
    images, _ = load_stl10(split, data_dir)
    assert images.shape == (count, 96, 96, 3)
    assert images.dtype == "uint8"


def test_images_stay_on_the_disk(data_dir):
    images, _ = load_stl10("unlabeled", data_dir)
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable


def test_pixels_are_stored_by_channel_and_column(data_dir):
    path = data_dir / "stl10_binary" / "unlabeled_X.bin"
    content = bytearray(2 * 27648)
    # Second image, green, column 70, row 5: planes of 9,216 bytes, columns of 96.
    content[27648 + 9216 + 70 * 96 + 5] = 200
    path.write_bytes(content)
    images, _ = load_stl10("unlabeled", data_dir)
    assert np.argwhere(images).tolist() == [[1, 5, 70, 1]]
    assert images[1, 5, 70, 1] == 200


def test_unlabeled_images_have_no_labels(data_dir):
    assert load_stl10("unlabeled", data_dir)[1] is None


@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_1_to_10_become_0_to_9(split, data_dir):
    _, labels = load_stl10(split, data_dir)
    on_disk = np.fromfile(data_dir / "stl10_binary" / f"{split}_y.bin", "uint8")
    assert set(on_disk) == set(range(1, 11))
    assert labels.dtype == "int64"
    assert (labels + 1).tolist() == on_disk.tolist()


def test_a_fold_is_a_line_of_indices(data_dir):
    lines = (data_dir / "stl10_binary" / "fold_indices.txt").read_text().splitlines()
    chosen = [int(word) for word in lines[3].split()]
    images, labels = load_stl10("train", data_dir)
    fold_images, fold_labels = load_stl10("train", data_dir, fold=3)
    np.testing.assert_array_equal(fold_images, images[chosen])
    np.testing.assert_array_equal(fold_labels, labels[chosen])


def test_indices_of_folds_may_exceed_a_byte(tmp_path):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    (folder / "train_X.bin").write_bytes(bytes(300 * 27648))
    (np.arange(300) % 7 + 1).astype("uint8").tofile(folder / "train_y.bin")
    (folder / "fold_indices.txt").write_text("299 298\n" * 10)
    _, labels = load_stl10("train", tmp_path, fold=9)
    assert labels.tolist() == [299 % 7, 298 % 7]


@pytest.mark.parametrize("fold", [-1, 10, 0.5])
def test_an_unknown_fold_is_refused(fold, data_dir):
    with pytest.raises(ValueError, match=rf"one of 0, .*, 9\. Received: fold={fold}"):
        load_stl10("train", data_dir, fold=fold)


def test_only_train_has_folds(data_dir):
    with pytest.raises(ValueError, match="Only the split 'train' has folds"):
        load_stl10("test", data_dir, fold=0)


def test_an_unknown_split_lists_the_known_ones(data_dir):
    with pytest.raises(ValueError, match="'unlabeled', 'train', 'test'. Received: split='valid'"):
        load_stl10("valid", data_dir)


@pytest.mark.parametrize("size", [0, 27647, 27649])
def test_a_truncated_file_is_refused(size, data_dir):
    (data_dir / "stl10_binary" / "unlabeled_X.bin").write_bytes(bytes(size))
    with pytest.raises(ValueError, match=f"Received: {size} bytes, expected a multiple of 27648"):
        load_stl10("unlabeled", data_dir)


def test_images_without_their_labels_are_refused(data_dir):
    (data_dir / "stl10_binary" / "test_y.bin").write_bytes(bytes([1, 2, 3]))
    with pytest.raises(ValueError, match="10 images and 3 labels"):
        load_stl10("test", data_dir)


@pytest.mark.parametrize("label", [0, 11, 255])
def test_labels_beyond_the_ten_classes_are_refused(data_dir, label):
    (data_dir / "stl10_binary" / "test_y.bin").write_bytes(bytes([1, *[label] * 9]))
    with pytest.raises(ValueError, match="must contain labels from 1 to 10. Received: "):
        load_stl10("test", data_dir)


@pytest.mark.parametrize(
    "text", ["0 1\n" * 9, "0 20\n" * 10, "-1 0\n" * 10, "0 one\n" * 10, "\xff"]
)
def test_folds_of_other_images_are_refused(data_dir, text):
    (data_dir / "stl10_binary" / "fold_indices.txt").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="must contain the indices of the images of 10 folds"):
        load_stl10("train", data_dir, fold=9)


@settings(max_examples=50, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    images=st.integers(0, 30).map(lambda size: bytes(size * 27648 // 10)),
    labels=st.binary(max_size=5) | st.integers(0, 3).map(lambda count: b"\x01" * count),
    folds=st.text(max_size=20) | st.text("0123 \n-.", max_size=30),
)
def test_any_files_are_read_or_refused(data_dir, images, labels, folds):
    folder = data_dir / "stl10_binary"
    (folder / "train_X.bin").write_bytes(images)
    (folder / "train_y.bin").write_bytes(labels)
    (folder / "fold_indices.txt").write_text(folds, encoding="utf-8")
    try:
        found, indices = load_stl10("train", data_dir, fold=0)
    except ValueError as error:
        assert "Received: " in str(error)
    else:
        assert len(found) == len(indices)


def test_without_files_the_error_says_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_stl10("unlabeled", tmp_path)
    for words in (
        "STL-10 is missing. Received",
        "stl10/stl10_binary.tar.gz",
        str(tmp_path / "stl10_binary.tar.gz"),
        "2.6 GB",
    ):
        assert words in str(error.value)


def test_the_default_folder_is_that_of_keras(data_dir, monkeypatch):
    (data_dir / "datasets").mkdir()
    (data_dir / "stl10_binary").rename(data_dir / "datasets" / "stl10_binary")
    monkeypatch.setenv("KERAS_HOME", str(data_dir))
    assert len(load_stl10("test")[0]) == 10


def names_in(folder):
    """Return the names in a folder, without the lock, which is empty."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_the_archive_is_downloaded_checked_and_unpacked(published, tmp_path):
    assert load_stl10("unlabeled", **published)[0].shape == (30, 96, 96, 3)
    assert names_in(tmp_path) == ["stl10_binary"]


def test_every_split_comes_from_one_download(published, server):
    for split in ("unlabeled", "train", "test"):
        load_stl10(split, **published)
    assert server.log == [None]


def test_a_deleted_file_is_downloaded_again(published, tmp_path):
    load_stl10("unlabeled", **published)
    (tmp_path / "stl10_binary" / "test_X.bin").unlink()
    assert load_stl10("test", **published)[0].shape == (10, 96, 96, 3)


def test_two_processes_that_download_into_one_folder_download_once(published, server):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        loading = [pool.submit(load_stl10, split, **published) for split in ("train", "test")]
    assert [len(future.result()[0]) for future in loading] == [20, 10]
    assert server.log == [None]


def test_an_interrupted_download_is_resumed(published, server):
    server.cut_at = 100_000
    with pytest.raises(ConnectionError, match=re.escape(server.url)):
        load_stl10("train", **published)
    server.cut_at = None
    assert len(load_stl10("train", **published)[0]) == 20
    assert server.log == [None, "bytes=100000-"]


def test_a_wrong_checksum_leaves_nothing(published, tmp_path):
    with pytest.raises(ValueError, match="is damaged"):
        load_stl10("train", **{**published, "archive_md5": "0" * 32})
    assert names_in(tmp_path) == []


def test_an_archive_in_the_folder_is_unpacked_without_a_network(
    published, server, archive, tmp_path
):
    (tmp_path / "stl10_binary.tar.gz").write_bytes(archive.read_bytes())
    assert len(load_stl10("train", **{**published, "download": False})[0]) == 20
    assert server.log == []
