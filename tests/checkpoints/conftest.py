"""A bucket, as the authors' are, on a local web server."""

import base64
import hashlib

import pytest

CONTENTS = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index" * 10,
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 4000,
}


@pytest.fixture
def put(server):
    """Return a function that puts a file into the bucket "models"."""

    def put(name, content):
        server.files[f"/models/{name}"] = content
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        item = {"name": name, "size": str(len(content)), "md5Hash": digest}
        server.listed.setdefault("models", []).append(item)

    return put


@pytest.fixture
def bucket(server, put, monkeypatch):
    """Return the server of a bucket "models" with a SavedModel in "net/saved_model/"."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.root)
    put("net/saved_model/", b"")
    for name, content in CONTENTS.items():
        put(f"net/saved_model/{name}", content)
    put("net/saved_model_2/other.pb", b"another model")
    return server


@pytest.fixture
def contents():
    return CONTENTS


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_SIMCLR_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"
