import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from annotator.embedded.process import running
from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import connection as policy
from annotator.platform.connection import Connection, RequestFailed, ServerGone


@pytest.fixture
def connect(server):
    return lambda **changed: Connection(
        *(
            {"host": server.access.host, "public": server.access.public_key, "private": server.access.private_key}
            | changed
        ).values()
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"public": "nobody"}, "does not know the public key"),
        ({"private": "wrong-private-key"}, "does not accept the signature: check that the private key"),
        ({"host": "http://127.0.0.1:9"}, r"No Cytomine server answers at http://127.0.0.1:9 \(ConnectionError\)"),
    ],
)
def test_who_cannot_get_in_is_told_why(connect, changed, message, monkeypatch):
    monkeypatch.setattr(policy, "WAIT_SECONDS", 0.2)
    with pytest.raises(AnnotatorError, match=message) as caught:
        connect(**changed)
    assert caught.value.code is ExitCode.CONNECTION
    assert "wrong-private-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"kind": "status", "value": 500}, "answered 500 when asked for it"),
        ({"kind": "status", "value": 504}, "answered 504 when asked for it"),
        ({"kind": "html"}, "a web page or nothing instead of it"),
        ({"kind": "redirect"}, "redirects to https://elsewhere.invalid/: give that address"),
        ({"kind": "close"}, "broke"),
        ({"kind": "truncate"}, "broke"),
        ({"kind": "hang", "value": 2}, "did not answer in time|broke"),
    ],
)
def test_whatever_the_server_does_is_one_line(connect, server, project, rule, message, monkeypatch, no_pauses):
    monkeypatch.setattr(policy, "READ_SECONDS", 0.3)
    connection = connect()
    server.fail({"path": f"project/{project.id}", "method": "GET", "times": 99} | rule)
    with pytest.raises(RequestFailed, match=message) as caught:
        connection.get(f"project/{project.id}.json", what="it")
    assert "\n" not in str(caught.value)


def test_reading_is_tried_again(connect, server, project):
    connection = connect()
    server.fail({"path": f"project/{project.id}", "method": "GET", "kind": "status", "value": 503, "times": 2})
    assert connection.get(f"project/{project.id}.json", what="it")["id"] == project.id


def test_writing_is_not(connect, server, project):
    connection = connect()
    server.fail({"path": "term.json", "method": "POST", "kind": "lost_answer", "times": 1})
    with pytest.raises(RequestFailed, match="answered 504"):
        connection.post("term.json", {"name": "Lute", "ontology": project.ontology}, what="a term")
    assert len(server.store.find("term", name="Lute", ontology=project.ontology)) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [("project/999999.json", "Not found: it"), ("nonsense", "Not found: it")],
)
def test_unknown_things(connect, path, message):
    with pytest.raises(RequestFailed, match=message) as caught:
        connect().get(path, what="it")
    assert caught.value.code is ExitCode.NOT_FOUND


def test_the_client_logs_nothing_that_holds_a_key(connect, server, caplog):
    with caplog.at_level(logging.INFO):
        connection = connect()
        with pytest.raises(RequestFailed):
            connection.get("project/999999.json", what="it")
    assert not re.search(f"{server.access.public_key}|{server.access.private_key}", caplog.text)
    assert logging.getLogger("cytomine.client").level == logging.CRITICAL


def test_no_redirect_is_followed(connect, server, project):
    """A followed POST would become a GET, and a signature would go to whoever is named."""
    connection = connect()
    rule = {"path": "term.json", "method": "POST", "kind": "redirect"}
    server.fail(rule)
    with pytest.raises(RequestFailed, match=r"redirects to https://elsewhere\.invalid/: give that address as host"):
        connection.post("term.json", {"name": "Lute", "ontology": project.ontology}, what="a term")
    server.fail(rule | {"path": "thumb", "method": "GET"})
    with pytest.raises(RequestFailed, match="redirects"):
        connection.download("imageinstance/1/thumb.jpg", None, what="pixels")


@contextmanager
def strange_server(status=200, content=b"{}", headers=(), over=None):
    """The address of a server that answers everything in this way; a ping without end, until ``over``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            endless = over is not None and "ping" in self.path
            self.send_response(200 if "ping" in self.path else status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(b"" if endless else content)
            while endless and not over.wait(0.01):
                self.wfile.write(b"more")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "content", "headers", "message"),
    [
        (302, b"", [("Location", "http://[broken")], "does not accept the signature"),
        (
            400,
            json.dumps({"errors": "one\nINFO two \x1b[31m"}).encode(),
            [],
            r"answered 400 .*\(one\?INFO two \?\[31m\)",
        ),
        (200, b'{"id": ' + b"1" * 5000 + b"}", [], "a web page or nothing"),
        (200, b"[" * 200_000, [], "a web page or nothing"),
        (404, b"[" * 200_000, [], "Not found"),
    ],
)
def test_answers_that_no_cytomine_gives_are_one_line_too(status, content, headers, message, no_pauses):
    with strange_server(status, content, headers) as host, pytest.raises(RequestFailed, match=message) as caught:
        Connection(host, "public", "private")
    assert str(caught.value).isprintable()


def test_a_ping_whose_answer_never_ends_is_an_answer():
    """A mistyped address may be that of a radio station or a camera."""
    over = Event()
    with strange_server(404, b"", over=over) as host, ThreadPoolExecutor(1) as pool:
        try:
            with pytest.raises(RequestFailed, match="Not found: the current user"):
                pool.submit(Connection, host, "public", "private").result(30)
        finally:
            over.set()


@pytest.mark.parametrize("host", ["http://[broken", f"http://{'x' * 300}"])
def test_an_address_that_is_none_is_told_at_once(connect, host):
    with pytest.raises(AnnotatorError, match=r"is no address\. Give one like https://") as caught:
        connect(host=host)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_asks_for_a_pause_gets_it(connect, server, project, method, monkeypatch):
    connection = connect()
    pauses = []
    monkeypatch.setattr(policy.time, "sleep", pauses.append)
    path = f"project/{project.id}" if method == "GET" else "term.json"
    server.fail(*({"path": path, "method": method, "kind": "too_many", "value": value} for value in (7, 36_000)))
    if method == "GET":
        connection.get(f"project/{project.id}.json", what="it")
    else:
        connection.post("term.json", {"name": "Lute", "ontology": project.ontology}, what="a term")
        assert len(server.store.find("term", name="Lute", ontology=project.ontology)) == 1
    assert pauses == [7, policy.LONGEST_PAUSE]


def test_an_answer_that_broke_off_is_asked_for_again(connect, server, project, no_pauses):
    connection = connect()
    server.fail({"path": f"project/{project.id}", "method": "GET", "kind": "truncate", "times": 2})
    assert connection.get(f"project/{project.id}.json", what="it")["id"] == project.id


def test_a_server_that_restarts_is_waited_for(tmp_path):
    with running(tmp_path) as access:
        connection = Connection(access.host, access.public_key, access.private_key)
    port = int(access.host.rpartition(":")[2])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(connection.get, "user/current.json", what="it")
        with pytest.raises(TimeoutError):
            asked.result(1.5)
        with running(tmp_path, port=port):
            assert asked.result(30)["id"] == connection.user["id"]


def test_but_not_for_ever_and_not_in_a_hurry(tmp_path, monkeypatch):
    with running(tmp_path) as access:
        connection = Connection(access.host, access.public_key, access.private_key)
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(ServerGone, match="No Cytomine server answers"):
        connection.get("user/current.json", what="it")
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 1000)
    connection.hurry()
    with pytest.raises(RequestFailed, match="broke"):
        connection.get("user/current.json", what="it")


def test_whether_the_server_still_answers(connect, server, no_pauses):
    connection = connect()
    assert connection.answers()
    server.fail({"path": "user/current", "method": "GET", "kind": "close", "times": 99})
    assert not connection.answers()
