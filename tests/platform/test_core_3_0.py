"""The official core 3.0: no thumbs of image instances, and properties sent with an annotation are dropped.

The embedded server plays a later core. A proxy in front of it takes away what 3.0 does not have; signatures stay right,
for they cover neither the body nor the host.
"""

import json
import re
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from shapely.geometry import box

from annotator.platform import annotations
from annotator.platform.annotations import NewAnnotation, fetch_annotations, upload
from annotator.platform.connection import Connection
from annotator.platform.geometry import to_location
from annotator.platform.images import choose_images, fetch_pixels


class Core30(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = ""
    missing = r"/imageinstance/\d+/thumb"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if re.search(self.missing, self.path):
            return self.reply(404, "application/json", b'{"errors": {"message": "not found"}}')
        if self.command == "POST" and self.path.startswith("/api/annotation.json"):
            rows = [{key: row[key] for key in row if key != "properties"} for row in json.loads(body)]
            body = json.dumps(rows).encode()
        headers = {key: value for key, value in self.headers.items() if key.lower() != "content-length"}
        link = HTTPConnection(self.upstream, timeout=20)
        try:
            link.request(self.command, self.path, body, headers)
            response = link.getresponse()
            content = response.read()
        finally:
            link.close()
        kind = response.headers["Content-Type"]
        if kind.startswith("application/json"):
            content = re.sub(rb"imageinstance/(\d+)/thumb", rb"abstractimage/\1/thumb", content)
        return self.reply(response.status, kind, content)

    def reply(self, status, kind, content):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def core_3_0(server):
    handler = type("Handler", (Core30,), {"upstream": urlsplit(server.access.host).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}", handler
        proxy.shutdown()


@pytest.fixture
def connection(core_3_0, project):
    arguments = project.launch().arguments
    keys = [arguments[arguments.index(f"--cytomine_{kind}_key") + 1] for kind in ("public", "private")]
    return Connection(core_3_0[0], *keys)


@pytest.fixture
def image(connection, project, picture):
    project.add_image(picture)
    return choose_images(connection, project.id, ())[0]


def made(count):
    return [
        NewAnnotation(to_location(box(i, i, i + 20, i + 10), 300, 200), (), {"score": f"0.{i:02d}", "model": "test 1"})
        for i in range(count)
    ]


def check_stored(connection, image, count):
    found = fetch_annotations(connection, connection.user["id"], [image])
    assert {item.polygon.bounds[0]: item.properties for item in found} == {
        float(i): {"score": f"0.{i:02d}", "model": "test 1"} for i in range(count)
    }


def test_properties_are_added_one_by_one(connection, image):
    upload(connection, image, connection.user["id"], made(3))
    check_stored(connection, image, 3)


def test_properties_are_neither_lost_nor_doubled(connection, image, server, monkeypatch):
    monkeypatch.setattr(annotations.time, "sleep", lambda seconds: None)
    server.fail(
        *({"path": "property.json", "method": "POST", "kind": kind} for kind in ("lost_answer", "close")),
        {"path": "property.json", "method": "POST", "kind": "status", "value": 503},
    )
    upload(connection, image, connection.user["id"], made(3))
    check_stored(connection, image, 3)


@pytest.mark.parametrize("missing", [r"/imageinstance/\d+/thumb", r"/imageinstance/\d+/(thumb|window)"])
def test_pixels_come_by_window_or_preview(connection, image, core_3_0, missing):
    core_3_0[1].missing = missing
    assert fetch_pixels(connection, image, 1000).shape == (200, 300, 3)
