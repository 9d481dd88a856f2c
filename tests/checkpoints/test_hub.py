"""Downloads by `huggingface_hub` from a local web server, in a process of their own."""

import json
import os
import subprocess
import sys

import pytest
from web_server import serving

from keras_simclr.checkpoints.fetch import fetch_from_hub

pytestmark = pytest.mark.once

COMMIT = "1c88bb51b6e17a21dde5230738fa38b74bd74f76"
FILES = {"README.md": b"# Weights", "resnet50-1x.pth": b"weights" * 1000}
PROGRAM = """
import json, sys
from keras_simclr.checkpoints.fetch import fetch_from_hub

for url in sys.argv[1:]:
    try:
        path = fetch_from_hub(url)
        answer = [str(path), path.read_bytes().decode()]
    except Exception as error:
        answer = [type(error).__name__, str(error)]
    print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that fetches URLs and returns (path, content) or (error, message)."""
    cache = tmp_path_factory.mktemp("hub")

    def run(*urls, **settings):
        environment = {**os.environ, **settings, "HF_HOME": str(cache), "no_proxy": "*"}
        command = [sys.executable, "-c", PROGRAM, *urls]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]

    return run


@pytest.fixture(scope="module")
def fetched(run):
    with serving() as server:
        siblings = [{"rfilename": name} for name in FILES]
        model = {"id": "lab/net", "sha": COMMIT, "siblings": siblings}
        server.files["/api/models/lab/net/revision/main"] = json.dumps(model).encode()
        for name, content in FILES.items():
            for revision in ("main", COMMIT):
                server.files[f"/lab/net/resolve/{revision}/{name}"] = content
        server.headers = {"X-Repo-Commit": COMMIT, "ETag": '"some-etag"'}
        urls = ["hf://lab/net/resnet50-1x.pth", "hf://lab/net", "hf://lab/other"]
        return run(*urls, HF_ENDPOINT=server.root)


def test_a_file_of_the_hub_is_downloaded(fetched):
    path, content = fetched[0]
    assert path.endswith("resnet50-1x.pth") and content.encode() == FILES["resnet50-1x.pth"]


def test_the_weights_file_of_a_repository_is_used(fetched):
    path, content = fetched[1]
    assert path.endswith("resnet50-1x.pth") and content.encode() == FILES["resnet50-1x.pth"]


def test_a_repository_that_does_not_exist_is_an_error(fetched):
    error, message = fetched[2]
    assert error == "ConnectionError" and "Could not download hf://lab/other (" in message


def test_without_a_network_the_error_says_what_to_download(run):
    ((error, message),) = run("hf://lab/missing/a.pth", HF_HUB_OFFLINE="1")
    assert error == "ConnectionError"
    assert message.endswith(
        "or download https://huggingface.co/lab/missing yourself and pass the path of a.pth."
    )


@pytest.mark.parametrize("url", ["hf://lab", "hf://", "hf://lab/net/../../evil", "hf://../net"])
def test_a_url_of_another_form_is_refused(url):
    with pytest.raises(ValueError, match="must be hf://owner/repository"):
        fetch_from_hub(url)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "keras-simclr\[checkpoints\]"'):
        fetch_from_hub("hf://lab/net")
