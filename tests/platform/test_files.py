"""Files on a job's page and on other objects: there once, whole, whatever becomes of an answer."""

import pytest

from annotator.errors import AnnotatorError
from annotator.platform import files
from annotator.platform.jobs import JOB

GLITCHES = [{"kind": "status", "value": 502}, {"kind": "close"}, {"kind": "lost_answer"}]


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("new")
    return path


@pytest.mark.parametrize("rule", GLITCHES)
@pytest.mark.parametrize("path", ["/api/jobdata.json", "/upload"])
def test_a_file_is_on_the_job_s_page_once(connection, server, no_pauses, page, rule, path):
    job = connection.user["job"]
    files.show(connection, job, "report", page)  # as a job that is started again finds it
    server.fail({"path": path, "method": "POST"} | rule)
    files.show(connection, job, "report", page)
    rows = server.store.find("jobdata", job=job)
    assert [(row["key"], row["filename"], row["size"]) for row in rows] == [("report", "page.html", 3)] * 2


@pytest.mark.parametrize("rule", GLITCHES)
def test_a_file_is_attached_once(connection, server, no_pauses, page, rule):
    job = connection.user["job"]
    files.attach(connection, JOB, job, page)
    server.fail({"path": "attachedfile", "method": "POST"} | rule)
    files.attach(connection, JOB, job, page)
    rows = server.store.find("attachedfile", domainIdent=job)
    assert [row["filename"] for row in rows] == ["page.html"] * 2
    assert files.attached(connection, JOB, job, "page.html") == {row["id"] for row in rows}
    assert files.attached(connection, JOB, job, "other.html") == set()


def test_what_cannot_be_stored_is_told(connection, server, no_pauses, page):
    server.fail({"path": "/upload", "method": "POST", "kind": "status", "value": 500, "times": 9})
    with pytest.raises(AnnotatorError, match=r"answered 500 when asked for the file page\.html"):
        files.show(connection, connection.user["job"], "report", page)
    server.fail({"path": "attachedfile", "method": "POST", "kind": "status", "value": 403})
    with pytest.raises(AnnotatorError, match=r"No right to use the file page\.html"):
        files.attach(connection, JOB, connection.user["job"], page)
