import os
import tracemalloc

import pytest

from keras_simclr.datasets.file_list import list_images

pytestmark = pytest.mark.once


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def listed(root):
    return [os.path.relpath(path, root) for path in list_images(root)[0]]


def test_files_are_listed_by_name_whatever_the_depth(tmp_path):
    make(tmp_path, "c.PNG", "a.jpg", "b/e.tiff", "b/d/f.webp", "a/g.gif")
    assert listed(tmp_path) == ["a.jpg", "c.PNG", "a/g.gif", "b/e.tiff", "b/d/f.webp"]


def test_other_and_hidden_files_are_left_out(tmp_path):
    make(tmp_path, "a.jpg", "notes.txt", "._a.jpg", ".cache/b.jpg")
    files, _, others = list_images(tmp_path)
    assert len(files) == 1 and others == {".txt"}


@pytest.mark.parametrize("name", ["two words.jpg", "line\nbreak.jpg", "Ärger 猫.jpg", "\udcff.jpg"])
def test_any_name_comes_back(tmp_path, name):
    make(tmp_path, name)
    assert listed(tmp_path) == [name]


def test_a_loop_of_links_ends(tmp_path):
    make(tmp_path, "a/b.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    assert listed(tmp_path) == ["a/b.jpg"]


def test_links_to_folders_and_files_are_followed(tmp_path):
    make(tmp_path, "elsewhere/b.jpg")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "c.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    assert listed(tmp_path / "photos") == ["c.jpg", "a/b.jpg"]


@pytest.fixture
def without_rights(tmp_path):
    """Take the rights of root, if the tests have them, which reads everything."""
    user = os.geteuid()
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == user and folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_folders_that_cannot_be_read_are_reported(tmp_path, request):
    make(tmp_path, "open/a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    request.getfixturevalue("without_rights")
    files, unlisted, _ = list_images(tmp_path)
    assert len(files) == 1 and unlisted == {f"{tmp_path}/closed": "Permission denied"}


def test_a_list_takes_little_more_memory_than_its_names(tmp_path):
    names = [f"{'n' * 40}{index}.jpg" for index in range(2000)]
    make(tmp_path, *names)
    tracemalloc.start()
    files = list_images(tmp_path)[0]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(files) == 2000 and size < 1.5 * sum(map(len, names))
