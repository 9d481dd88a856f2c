"""A local web server with the faults of real ones."""

import contextlib
import http.server
import json
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    """Serve the files of the server, with the faults that its attributes describe."""

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.server.paths.append(path)
        self.server.log.append(self.headers.get("Range"))
        if path.startswith("/storage/v1/b/"):
            self.list_bucket(path.split("/")[4])
        elif path in self.server.files:
            self.send_file(self.server.files[path])
        else:
            self.send_error(404)

    def do_HEAD(self):
        self.do_GET()

    def list_bucket(self, bucket):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        answer = self.server.page(bucket, query, int(query.get("pageToken", 0)))
        self.send_file(json.dumps(answer).encode())

    def send_file(self, content):
        start = self.send_range(len(content))
        if start is None:
            return
        self.send_header("Content-Length", str(self.server.claimed or len(content) - start))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start : self.server.cut_at])

    def send_range(self, size):
        """Send the status, and return where the answer starts, or None if it is complete."""
        requested = self.headers.get("Range")
        if not requested or not self.server.supports_ranges:
            self.send_response(200)
            return 0
        start = int(requested.removeprefix("bytes=").removesuffix("-"))
        if start < size:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            return start
        self.send_response(416)
        self.send_header("Content-Range", f"bytes */{size}")
        self.end_headers()
        return None

    def log_message(self, *args):
        pass


class WebServer(http.server.ThreadingHTTPServer):
    """Serve files from memory.

    Attributes:
        files: Contents by path.
        listed: Items of buckets, by the name of the bucket, in the form of the JSON API.
        page_size: Items on a page of a listing.
        headers: Headers of each file.
        log: `Range` of each request, or None.
        paths: Path of each request.
        cut_at: Position at which files are cut off.
        claimed: `Content-Length` to send instead of the right one.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.root}/file"
        self.files, self.listed, self.headers = {"/file": b""}, {}, {}
        self.log, self.paths, self.page_size = [], [], 1000
        self.supports_ranges, self.cut_at, self.claimed = True, None, None

    @property
    def content(self):
        return self.files["/file"]

    @content.setter
    def content(self, content):
        self.files["/file"] = content

    def page(self, bucket, query, start):
        prefix, delimiter = query["prefix"], query.get("delimiter")
        items = [item for item in self.listed[bucket] if item["name"].startswith(prefix)]
        if delimiter:
            items = [item for item in items if delimiter not in item["name"].removeprefix(prefix)]
        page = {"kind": "storage#objects", "items": items[start : start + self.page_size]}
        if start + self.page_size < len(items):
            page["nextPageToken"] = str(start + self.page_size)
        return page


@contextlib.contextmanager
def serving():
    with WebServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
