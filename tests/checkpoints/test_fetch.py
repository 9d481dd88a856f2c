import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from keras_simclr.checkpoints import PublishedModel, cache_folder, fetch
from keras_simclr.checkpoints.fetch import only_checkpoint

pytestmark = pytest.mark.once

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def published(url, **facts):
    facts = {"format": "SavedModel", "source": "here", "license": "MIT", "depth": 18, **facts}
    return PublishedModel("net", url, **facts)


@pytest.fixture
def folder_of_bucket(bucket, cache):
    return published("gs://models/net/saved_model/")


@pytest.fixture
def file(server, cache):
    server.files["/checkpoints/epoch=9.pth"] = CONTENT
    url = f"{server.root}/checkpoints/epoch%3D9.pth"
    return published(url, format="PyTorch", checksum=f"sha256:{SHA256[:8]}")


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_of_a_bucket_is_downloaded_into_the_cache(folder_of_bucket, cache, contents):
    path = fetch(folder_of_bucket)
    assert path == cache / "presets" / "net"
    assert files_in(path) == sorted([*contents, "download.json"])
    assert files_in(cache / "presets") == sorted(
        [*(f"net/{name}" for name in contents), "net/download.json", "net.lock"]
    )


def test_a_file_is_downloaded_under_its_own_name(file, cache):
    path = fetch(file)
    assert path == cache / "presets" / "net" / "epoch=9.pth"
    assert path.read_bytes() == CONTENT


def test_what_is_in_the_cache_is_not_downloaded_again(folder_of_bucket, bucket):
    fetch(folder_of_bucket)
    requests = len(bucket.log)
    fetch(folder_of_bucket)
    assert len(bucket.log) == requests


def test_the_cache_is_a_folder_of_keras_by_default(monkeypatch):
    monkeypatch.delenv("KERAS_SIMCLR_HOME", raising=False)
    monkeypatch.setenv("KERAS_HOME", os.path.join("~", "elsewhere"))
    assert cache_folder() == cache_folder().home() / "elsewhere" / "keras_simclr"


def test_an_interrupted_download_of_a_folder_is_resumed(folder_of_bucket, bucket, cache, contents):
    bucket.cut_at = 500_000
    with pytest.raises(ConnectionError, match="Try again, which resumes"):
        fetch(folder_of_bucket)
    assert not (cache / "presets" / "net").exists()
    bucket.cut_at = None
    bucket.log.clear()
    path = fetch(folder_of_bucket)
    assert bucket.log == [None, "bytes=500000-"]  # the listing, and the rest of one file
    data = "variables/variables.data-00000-of-00001"
    assert (path / data).read_bytes() == contents[data]


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(
    folder_of_bucket, cache, monkeypatch
):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError) as error:
        fetch(folder_of_bucket)
    sentence = f"put the files of gs://models/net/saved_model/ into {cache / 'presets' / 'net'}"
    assert sentence in str(error.value)


@pytest.fixture
def by_hand(cache, contents):
    """Return a function that puts files of the bucket into the cache, without any download."""

    def put(**changes):
        folder = cache / "presets" / "net"
        for name, content in {**contents, **changes}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return put


DATA = "variables/variables.data-00000-of-00001"


def test_a_file_that_was_cut_off_when_it_was_put_there_is_completed(
    folder_of_bucket, bucket, by_hand, contents
):
    folder = by_hand(**{DATA: contents[DATA][:300_000]})
    fetch(folder_of_bucket)
    assert (folder / DATA).read_bytes() == contents[DATA]
    assert bucket.log == [None, "bytes=300000-"]  # the listing, and the rest of one file


def test_a_file_that_is_missing_from_what_was_put_there_is_downloaded(
    folder_of_bucket, by_hand, contents
):
    folder = by_hand()
    (folder / DATA).unlink()
    fetch(folder_of_bucket)
    assert (folder / DATA).read_bytes() == contents[DATA]


def test_a_wrong_file_that_was_put_there_is_refused(folder_of_bucket, by_hand):
    folder = by_hand(**{"saved_model.pb": b"other"})
    with pytest.raises(ValueError, match="saved_model.pb is damaged. Received: md5:"):
        fetch(folder_of_bucket)
    assert not (folder / "download.json").exists()


def test_what_was_put_there_without_a_network_is_compared_later(
    folder_of_bucket, bucket, by_hand, contents, monkeypatch, capsys
):
    folder = by_hand(**{DATA: contents[DATA][:300_000]})
    with monkeypatch.context() as offline:
        offline.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
        assert fetch(folder_of_bucket) == folder
    assert f"{folder} was not compared with gs://models/net" in capsys.readouterr().out
    fetch(folder_of_bucket)
    assert (folder / DATA).read_bytes() == contents[DATA]


def test_what_is_known_to_be_cut_off_is_not_used_without_a_network(
    folder_of_bucket, bucket, by_hand, contents, monkeypatch
):
    by_hand(**{DATA: contents[DATA][:300_000]})
    bucket.cut_at = 500_000
    for _ in range(2):
        with pytest.raises(ConnectionError, match="Try again, which resumes"):
            fetch(folder_of_bucket)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")


def test_a_file_without_a_checksum_that_was_put_there_may_be_replaced(server, cache):
    model = published(f"{server.root}/file", format="PyTorch")
    path = cache / "presets" / "net" / "file"
    path.parent.mkdir(parents=True)
    for content in (b"half", b"complete"):
        path.write_bytes(content)
        assert fetch(model).read_bytes() == content


# Zip archives


def zip_of(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def archive(server, cache):
    members = {
        "ResNet50_1x/model.ckpt-225206.index": b"index",
        "ResNet50_1x/model.ckpt-225206.data-00000-of-00001": CONTENT,
        "ResNet50_1x/hub/variables/variables.index": b"the same weights again",
    }
    server.files["/ResNet50_1x.zip"] = zip_of(**members)
    return published(f"{server.root}/ResNet50_1x.zip", format="TensorFlow 1")


def test_a_zip_archive_is_unpacked_to_its_checkpoint(archive, server, cache):
    path = fetch(archive)
    assert path.is_relative_to(cache / "presets" / "net")
    assert (path / "model.ckpt-225206.data-00000-of-00001").read_bytes() == CONTENT
    assert fetch(archive) == path
    assert server.paths == ["/ResNet50_1x.zip"]
    assert [file for file in files_in(cache) if "zip" in file or "part" in file] == []


def test_a_checkpoint_that_was_unpacked_by_hand_is_used(archive, server, cache):
    touch(cache / "presets" / "net", "ResNet50_1x/model.ckpt-225206.index")
    assert fetch(archive) == cache / "presets" / "net" / "ResNet50_1x"
    assert server.paths == []


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../../evil"])
def test_a_zip_archive_that_leads_outside_is_refused(archive, server, cache, name):
    server.files["/ResNet50_1x.zip"] = zip_of(**{"model.index": b"index", name: b"evil"})
    with pytest.raises(ValueError, match="must be inside its folder"):
        fetch(archive)
    assert files_in(cache) == ["presets/net.lock", "presets/net/ResNet50_1x.zip"]


def test_a_zip_archive_without_a_checkpoint_is_refused(archive, server):
    server.files["/ResNet50_1x.zip"] = zip_of(**{"weights.h5": CONTENT})
    for _ in range(2):
        with pytest.raises(ValueError, match="must contain a checkpoint.*Received: http"):
            fetch(archive)


@pytest.mark.parametrize("kept", [100, 3000])
def test_a_damaged_zip_archive_leaves_nothing_half_unpacked(archive, server, cache, kept):
    content = bytearray(server.files["/ResNet50_1x.zip"])
    content[kept - 50 : kept] = bytes(50)
    server.files["/ResNet50_1x.zip"] = bytes(content)
    with pytest.raises(ValueError, match="ResNet50_1x.zip is damaged. Received: "):
        fetch(archive)
    assert files_in(cache) == ["presets/net.lock", "presets/net/ResNet50_1x.zip"]


def test_a_file_that_was_put_there_is_checked(file, server, cache):
    (cache / "presets" / "net").mkdir(parents=True)
    (cache / "presets" / "net" / "epoch=9.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"expected sha256:{SHA256[:8]}"):
        fetch(file)
    assert server.log == []


def test_a_wrong_checksum_leaves_nothing(file, server, cache):
    server.files["/checkpoints/epoch=9.pth"] = CONTENT[::-1]
    with pytest.raises(ValueError, match="is damaged. Received: sha256:"):
        fetch(file)
    assert files_in(cache) == ["presets/net.lock"]


def test_a_file_that_has_become_shorter_is_refused(file):
    path = fetch(file)
    path.write_bytes(CONTENT[:100])
    with pytest.raises(ValueError, match="Received: 100 bytes, expected 1024000. Delete"):
        fetch(file)


def test_a_file_that_is_gone_is_refused(folder_of_bucket):
    (fetch(folder_of_bucket) / "variables" / "variables.index").unlink()
    with pytest.raises(ValueError, match="variables.index is damaged. Received: None bytes"):
        fetch(folder_of_bucket)


def test_size_and_checksum_of_a_file_without_a_checksum_are_recorded(server, cache, capsys):
    path = fetch(published(f"{server.root}/file", format="PyTorch"))
    (record,) = json.loads(path.with_name("download.json").read_text())["files"].values()
    assert record == {"size": 0, "checksum": f"sha256:{hashlib.sha256(b'').hexdigest()}"}
    assert "No checksum of net is published. Recorded what was received" in capsys.readouterr().out


def test_hub_modules_beside_a_checkpoint_are_not_downloaded(bucket, put, cache):
    put("tf1/model.ckpt-1.index", b"index")
    put("tf1/hub/saved_model.pb", b"the same weights again")
    path = fetch(published("gs://models/tf1/", format="TensorFlow 1"))
    assert files_in(path) == ["download.json", "model.ckpt-1.index"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
def test_a_full_disk_leaves_nothing_half_written(folder_of_bucket, cache):
    done = run("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5));", "net")
    assert "There is no space for" in done.stderr
    assert not (cache / "presets" / "net").exists()
    assert not [name for name in files_in(cache) if "data" in name]


def test_two_processes_download_once(folder_of_bucket, bucket, contents):
    with start("", "net") as one, start("", "net") as other:
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert len(bucket.log) == 1 + len(contents)


CODE = (
    "import sys; from keras_simclr.checkpoints import PublishedModel, fetch;"
    "fetch(PublishedModel(sys.argv[1], 'gs://models/net/saved_model/', 'SavedModel', 'here',"
    "'MIT', 18))"
)


def start(before, name):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", before + CODE, name], **pipes)


def run(before, name):
    with start(before, name) as process:
        stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, stdout, stderr)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).touch()


def test_the_only_weights_file_of_a_repository_is_found(tmp_path):
    touch(tmp_path, "README.md", "config.json", "weights/resnet50-1x.pth")
    assert only_checkpoint(tmp_path) == tmp_path / "weights" / "resnet50-1x.pth"


def test_safetensors_are_preferred_to_pickles(tmp_path):
    touch(tmp_path, "pytorch_model.bin", "model.safetensors")
    assert only_checkpoint(tmp_path).name == "model.safetensors"


@pytest.mark.parametrize("name", ["model.weights.h5", "saved_model.pb", "checkpoint"])
def test_a_repository_that_is_a_model_is_a_folder(name, tmp_path):
    touch(tmp_path, name, "other.pth")
    assert only_checkpoint(tmp_path) == tmp_path


@pytest.mark.parametrize("names", [(), ("a.pth", "b.pth")])
def test_several_weights_files_or_none_are_refused(names, tmp_path):
    touch(tmp_path, "README.md", *names)
    with pytest.raises(ValueError, match=r"must have exactly one weights file. Received: \["):
        only_checkpoint(tmp_path)


def test_a_name_that_leads_out_of_the_cache_is_refused(server, cache):
    facts = {"format": "PyTorch", "source": "here", "license": "MIT", "depth": 18}
    with pytest.raises(ValueError, match="must be inside its folder. Received: '../../evil'"):
        fetch(PublishedModel("../../evil", f"{server.root}/file", **facts))
    assert server.log == []


def test_a_url_that_leads_out_of_the_cache_is_refused(server, cache):
    with pytest.raises(ValueError, match="must be inside its folder. Received: '../evil'"):
        fetch(published(f"{server.root}/..%2Fevil", format="PyTorch"))
    assert server.log == []


def test_an_empty_folder_is_filled(folder_of_bucket, cache):
    (cache / "presets" / "net").mkdir(parents=True)
    assert (fetch(folder_of_bucket) / "saved_model.pb").exists()


def test_a_lock_of_a_killed_process_is_no_obstacle(folder_of_bucket, cache):
    touch(cache / "presets", "net.lock")
    assert fetch(folder_of_bucket).exists()


def test_a_deleted_model_is_downloaded_again(folder_of_bucket):
    shutil.rmtree(fetch(folder_of_bucket))
    assert (fetch(folder_of_bucket) / "saved_model.pb").read_bytes() == b"graph"
