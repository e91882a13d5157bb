"""Jobs with evidence, over real HTTP: a picture for each annotation, once, and a report on the job's page."""

import io
import re

import pytest
from PIL import Image

from annotator import evidence as evidence_module
from annotator import job as job_module
from annotator.errors import ExitCode
from annotator.explain.crops import SIDE
from annotator.report.heat import CAPTION

NAMES = ("harp_in_oil.png", "empty_room.png", "violin_in_oil.png")

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def painted(project, small):
    for name in NAMES:
        project.add_image(small / name)
    return project


def run(project, **values):
    launched = project.launch(**values)
    assert job_module.run(launched.arguments) is ExitCode.OK
    return launched.job


def evidence(project):
    """The files of each annotation of the project's jobs."""
    store = project.server.store
    drawn = [item for item in project.annotations() if item["layer"] == "algo"]
    assert drawn
    return [store.find("attachedfile", ownerKind="annotation", domainIdent=item["id"]) for item in drawn]


def test_each_annotation_has_its_evidence_and_the_job_a_report(painted):
    job = run(painted, evidence=True)
    store = painted.server.store
    files = evidence(painted)
    for (file,) in files:
        assert file["filename"] == "evidence.jpg"
        with Image.open(io.BytesIO(store.file(file["stored"]).read_bytes())) as picture:
            assert (picture.format, picture.size) == ("JPEG", (3 * SIDE, SIDE + CAPTION))
    data = {row["key"]: row for row in store.find("jobdata", job=job)}
    assert data.keys() == {"report", "summary", "look at these next"}
    page = store.file(data["report"]["stored"]).read_text()
    assert page.count('class="evidence"') == len(files)
    assert "What speaks for Harp" in page
    assert 'class="nearest"' not in page  # the built-in model learnt nothing here
    assert not re.search(r"https?://", page)


def test_the_report_of_a_job_that_goes_on_says_what_it_lacks(painted):
    store = painted.server.store
    images = [image["id"] for image in store.find("imageinstance", project=painted.id)]
    first = run(painted, evidence=True, cytomine_id_images=images[0])
    second = run(painted, evidence=True, resume=first)
    third = run(painted, evidence=True, skip_annotated=True, cytomine_id_images=images[0])
    pages = {}
    for job in (first, second, third):
        (row,) = store.find("jobdata", job=job, key="report")
        pages[job] = " ".join(store.file(row["stored"]).read_text().split())
    assert "Not on this page" not in pages[first]
    assert f"Not on this page: 1 image that job {first}, or one that it went on with, had done" in pages[second]
    assert "Not on this page: 1 image that an earlier job had done" in pages[third]
    assert "in 1 of 2 pictures" in pages[second] or "in 2 of 2 pictures" in pages[second]


@pytest.mark.parametrize(("limit", "shown", "left_out"), [("REPORTED", 1, 2), ("MOST_BYTES", 0, 3)])
def test_the_report_says_how_many_images_it_leaves_out(painted, monkeypatch, limit, shown, left_out):
    monkeypatch.setattr(evidence_module, limit, 1)
    (row,) = painted.server.store.find("jobdata", job=run(painted, evidence=True), key="report")
    page = " ".join(painted.server.store.file(row["stored"]).read_text().split())
    assert f"in {shown} of {shown} picture" in page
    assert f"Not on this page and in none of its figures: {left_out} more images" in page


def test_without_being_asked_a_job_leaves_none(painted):
    job = run(painted)
    assert all(files == [] for files in evidence(painted))
    assert "report" not in [row["key"] for row in painted.server.store.find("jobdata", job=job)]


@pytest.mark.parametrize("rule", [{"kind": "lost_answer"}, {"kind": "status", "value": 503}, {"kind": "close"}])
def test_a_failure_neither_loses_nor_doubles_evidence(painted, server, rule):
    server.fail({"path": "attachedfile.json", "method": "POST", "times": 1} | rule)
    run(painted, evidence=True)
    assert all(len(files) == 1 for files in evidence(painted))


def test_where_files_are_forbidden_the_annotations_stay(painted, server, caplog):
    server.fail({"path": "attachedfile.json", "method": "POST", "times": 99, "kind": "status", "value": 403})
    run(painted, evidence=True)
    assert all(files == [] for files in evidence(painted))
    assert "stays without its evidence" in caplog.text


class PowerCut(BaseException):
    """The machine is gone: nothing after it runs."""


@pytest.mark.parametrize("resumed", [True, False])
def test_a_job_that_was_cut_off_gets_the_evidence_that_it_lacks(painted, monkeypatch, resumed):
    launched = painted.launch(evidence=True)
    with monkeypatch.context() as patch:

        def dying(*arguments):
            raise PowerCut

        patch.setattr("annotator.platform.files.attach", dying)
        with pytest.raises(PowerCut):
            job_module.run(launched.arguments)
    assert all(files == [] for files in evidence(painted))
    if resumed:
        run(painted, evidence=True, resume=launched.job)
    else:  # as slurm starts a job again
        assert job_module.run(launched.arguments) is ExitCode.OK
    assert all(len(files) == 1 for files in evidence(painted))
