import hashlib
import io
import re
import shutil
import socket
import subprocess
import sys
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_simclr.download import download_file, unpack_files

pytestmark = pytest.mark.once


@pytest.fixture
def content(server, rng):
    server.content = rng.bytes(3_000_000)
    return server.content


@pytest.fixture
def checksum(md5):
    return lambda content: f"md5:{md5(content)}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "file.bin"


@pytest.fixture
def part(path):
    path.parent.mkdir()
    return path.with_name("file.bin.part")


def test_a_file_is_downloaded_completely(server, content, path, checksum):
    assert download_file(server.url, path, checksum(content)) == path
    assert path.read_bytes() == content
    assert [child.name for child in path.parent.iterdir()] == ["file.bin"]


def test_progress_is_shown(server, content, path, checksum, capsys):
    download_file(server.url, path, checksum(content))
    assert re.search(r"3/3.*/MB", capsys.readouterr().out)


def test_a_file_that_exists_is_not_downloaded_again(server, content, path, checksum):
    for _ in range(2):
        download_file(server.url, path, checksum(content))
    assert server.log == [None]


def test_an_interrupted_download_keeps_the_partial_file(server, content, path, checksum):
    server.cut_at = 1_200_000
    with pytest.raises(ConnectionError, match="cut off after 1200000 of 3000000 bytes"):
        download_file(server.url, path, checksum(content))
    assert path.with_name("file.bin.part").read_bytes() == content[:1_200_000]
    assert not path.exists()


def test_an_interrupted_download_is_resumed(server, content, path, checksum):
    server.cut_at = 1_200_000
    with pytest.raises(ConnectionError):
        download_file(server.url, path, checksum(content))
    server.cut_at = None
    download_file(server.url, path, checksum(content))
    assert server.log == [None, "bytes=1200000-"]
    assert path.read_bytes() == content


def test_without_support_for_ranges_the_download_starts_over(server, content, path, part, checksum):
    server.supports_ranges = False
    part.write_bytes(content[:1000])
    download_file(server.url, path, checksum(content))
    assert server.log == ["bytes=1000-"]
    assert path.read_bytes() == content


def test_a_partial_file_that_is_complete_is_used(server, content, path, part, checksum):
    part.write_bytes(content)
    download_file(server.url, path, checksum(content))
    assert server.log == ["bytes=3000000-"]
    assert path.read_bytes() == content


def test_a_partial_file_that_is_too_long_is_downloaded_again(server, content, path, part, checksum):
    part.write_bytes(content + b"more")
    download_file(server.url, path, checksum(content))
    assert server.log == ["bytes=3000004-", None]
    assert path.read_bytes() == content


def test_a_wrong_checksum_reports_both_and_removes_the_file(server, content, path, checksum):
    with pytest.raises(
        ValueError, match=f"Received: {checksum(content)}, expected {checksum(b'')}"
    ):
        download_file(server.url, path, checksum(b""))
    assert list(path.parent.iterdir()) == []


def test_a_damaged_file_at_the_path_is_refused(server, path, part, checksum):
    path.write_bytes(b"half of it")
    with pytest.raises(ValueError, match="file.bin is damaged"):
        download_file(server.url, path, checksum(b"all of it"))
    assert server.log == []


def test_without_a_network_the_error_has_url_and_path(path, checksum, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
    with pytest.raises(ConnectionError) as error:
        download_file(url, path, checksum(b""))
    assert url in str(error.value) and f"put the file at {path}" in str(error.value)


def test_a_missing_file_is_a_connection_error(server, content, path, checksum):
    with pytest.raises(ConnectionError, match="404"):
        download_file(f"{server.url}/gone", path, checksum(content))


def test_the_first_digits_of_a_checksum_are_enough(server, content, path):
    digits = hashlib.sha256(content).hexdigest()[:8]
    assert download_file(server.url, path, f"sha256:{digits}").exists()


def test_other_first_digits_are_refused(server, content, path):
    with pytest.raises(ValueError, match="expected sha256:01234567"):
        download_file(server.url, path, "sha256:01234567")
    assert list(path.parent.iterdir()) == []


def test_a_file_of_another_size_is_refused(server, content, path):
    with pytest.raises(ValueError, match="Received: 3000000 bytes, expected 2999999 bytes"):
        download_file(server.url, path, size=2_999_999)
    assert list(path.parent.iterdir()) == []


def test_a_file_that_is_larger_than_the_disk_is_not_begun(server, content, path):
    server.claimed = 2**60
    with pytest.raises(OSError, match="There is no space for .*file.bin .* are free"):
        download_file(server.url, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
def test_a_disk_that_becomes_full_leaves_nothing(server, content, path):
    code = (
        "import resource, sys; from keras_simclr.download import download_file;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000));"
        "download_file(*sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", code, server.url, str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert f"There is no space for {path} (File too large). Free some" in done.stderr
    assert list(path.parent.iterdir()) == []


def tar_of(path, *members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def test_the_named_files_are_unpacked_and_no_others(tmp_path):
    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", b"a"), ("set/b.bin", b"b"), ("a.bin", b"c"))
    unpack_files(archive, tmp_path / "set", ["a.bin"])
    assert [file.name for file in (tmp_path / "set").iterdir()] == ["a.bin"]
    assert (tmp_path / "set" / "a.bin").read_bytes() == b"a"


def test_unpacking_keeps_other_files(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", b"a"))
    unpack_files(archive, tmp_path / "set", ["a.bin"])
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["../evil.bin", "set/../../evil.bin", "/tmp/evil.bin"])
def test_a_member_that_points_outside_is_refused(tmp_path, name):
    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", b"a"), (name, b"evil"))
    with pytest.raises(ValueError, match="points outside"):
        unpack_files(archive, tmp_path / "set", ["a.bin"])
    assert [child.name for child in tmp_path.iterdir()] == ["a.tgz"]


def test_a_link_is_not_unpacked(tmp_path):
    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", None))
    with pytest.raises(ValueError, match=r"an archive without \['a.bin'\]"):
        unpack_files(archive, tmp_path / "set", ["a.bin"])


@pytest.mark.parametrize("size", [0, 10, 5_000, 99_000])
def test_a_truncated_archive_leaves_nothing(tmp_path, rng, size):
    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", rng.bytes(100_000)))
    archive.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(ValueError, match="a.tgz"):
        unpack_files(archive, tmp_path / "set", ["a.bin"])
    assert [child.name for child in tmp_path.iterdir()] == ["a.tgz"]


def test_interrupted_unpacking_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(source, target, *args):
        target.write(b"half")
        raise KeyboardInterrupt

    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", b"all of it"))
    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack_files(archive, tmp_path / "set", ["a.bin"])
    assert [child.name for child in tmp_path.iterdir()] == ["a.tgz"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / "set.part").mkdir()
    (tmp_path / "set.part" / "b.bin").write_bytes(b"half")
    archive = tar_of(tmp_path / "a.tgz", ("set/a.bin", b"a"))
    with pytest.raises(ValueError, match=r"an archive without \['b.bin'\]"):
        unpack_files(archive, tmp_path / "set", ["a.bin", "b.bin"])


@settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    mode=st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]),
    name=st.sampled_from(["set/a.bin", "../a.bin", "set/" + 120 * "n"]),
    changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=8),
    kept=st.integers(0, 3000),
)
def test_any_archive_is_unpacked_or_refused(tmp_path, mode, name, changes, kept):
    archive = tar_of(tmp_path / "a.tar", ("set/a.bin", b"a" * 700), (name, b"b"), mode=mode)
    data = bytearray(archive.read_bytes()[:kept])
    for place, value in changes:
        data[place : place + 1] = bytes([value]) if place < len(data) else b""
    archive.write_bytes(data)
    try:
        unpack_files(archive, tmp_path / "set", ["a.bin"])
    except ValueError as error:
        assert "Received: " in str(error)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert found <= {"a.tar", "set", "set/a.bin"}
