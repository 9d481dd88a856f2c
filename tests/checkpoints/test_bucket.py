import json

import pytest

from keras_simclr.checkpoints.bucket import download_files, list_folder

pytestmark = pytest.mark.once

URL = "gs://models/net/saved_model/"


def files_in(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_all_files_of_a_folder_are_downloaded_and_none_of_its_neighbors(bucket, contents, tmp_path):
    download_files(list_folder(URL), tmp_path / "net")
    assert files_in(tmp_path / "net") == contents


@pytest.mark.parametrize("page_size", [1, 2, 3])
def test_a_listing_of_several_pages_is_complete(bucket, contents, page_size):
    bucket.page_size = page_size
    assert {file.path for file in list_folder(URL)} == set(contents)


def test_a_listing_has_sizes_and_checksums(bucket):
    (graph, *_) = list_folder(URL)
    assert (graph.path, graph.size) == ("saved_model.pb", 5)
    assert graph.checksum == "md5:f8b0b924ebd7046dbfa85a856e4682c8"


def test_subfolders_can_be_left_out(bucket, tmp_path):
    download_files(list_folder(URL, recursive=False), tmp_path)
    assert set(files_in(tmp_path)) == {"saved_model.pb"}


def test_names_with_special_characters_are_downloaded(bucket, put, tmp_path):
    put("odd/a b#c?d%20+e.bin", b"odd")
    download_files(list_folder("gs://models/odd"), tmp_path)
    assert files_in(tmp_path) == {"a b#c?d%20+e.bin": b"odd"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:/evil", "a\\..\\..\\evil"])
def test_a_name_that_leads_outside_is_refused_before_any_download(bucket, put, name, tmp_path):
    put(f"net/saved_model/{name}", b"evil")
    with pytest.raises(ValueError, match="must be inside its folder"):
        download_files(list_folder(URL), tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_as_listed_is_refused(bucket, tmp_path):
    bucket.files["/models/net/saved_model/saved_model.pb"] = b"other"
    with pytest.raises(ValueError, match="saved_model.pb.part is damaged. Received: md5:"):
        download_files(list_folder(URL), tmp_path)
    assert files_in(tmp_path) == {}


def test_a_folder_that_does_not_exist_is_an_error(bucket, tmp_path):
    with pytest.raises(ConnectionError, match="no files in gs://models/missing/"):
        download_files(list_folder("gs://models/missing/"), tmp_path)


def test_an_answer_that_is_not_a_listing_is_an_error(bucket, monkeypatch, tmp_path):
    monkeypatch.setattr(json, "dumps", lambda answer: "<html>a login page</html>")
    with pytest.raises(ConnectionError, match="Could not list .*/storage/v1/b/models/o"):
        download_files(list_folder(URL), tmp_path)


def test_a_mirror_may_be_given_without_a_scheme(bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.root.removeprefix("http://"))
    assert len(list_folder(URL)) == 3
