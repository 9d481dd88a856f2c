"""A small STL-10 in its original format, and a local web server for it."""

import hashlib
import http.server
import importlib.util
import tarfile
import threading
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def write_stl10():
    spec = importlib.util.spec_from_file_location("made_stl10", EXAMPLES / "made_stl10.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_stl10


@pytest.fixture(scope="session")
def archive(tmp_path_factory, write_stl10):
    """Return the path of an archive like the published one, with few images."""
    folder = tmp_path_factory.mktemp("published")
    write_stl10(folder / "stl10_binary", unlabeled=30, train=20, test=10)
    with tarfile.open(folder / "stl10_binary.tar.gz", "w:gz") as tar:
        tar.add(folder / "stl10_binary", "stl10_binary")
    return folder / "stl10_binary.tar.gz"


@pytest.fixture
def md5():
    return lambda content: hashlib.md5(content).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve `server.content`, with the faults that the attributes of the server describe."""

    def do_GET(self):
        requested = self.headers.get("Range")
        self.server.log.append(requested)
        content, start = self.server.content, 0
        if self.path != "/file":
            self.send_error(404)
            return
        if requested and self.server.supports_ranges:
            start = int(requested.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.cut_at])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """Return a server with `.url`, `.content`, `.log` (`Range` of each request), `.cut_at`."""
    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.url = f"http://127.0.0.1:{server.server_port}/file"
        server.content, server.log = b"", []
        server.supports_ranges, server.cut_at = True, None
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
