"""Which model a project uses, and fetching it."""

import pytest

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import jobs, promotion, properties


@pytest.fixture
def trained(server, project):
    """A finished training job, and a way to attach files to it."""
    number = project.launch(mode="train_and_annotate").job
    server.store.update("job", number, status=jobs.SUCCESS)

    def attach(name, content):
        stored = server.store.add_file(content)
        server.store.add("attachedfile", ownerKind="job", domainIdent=number, filename=name, stored=stored)

    return number, attach


def test_the_newest_model_of_a_job_is_fetched(connection, project, trained, tmp_path):
    number, attach = trained
    attach("model.zip", b"old")
    attach("/home/anna/training/model.zip", b"new")  # some cores keep the sender's path
    attach("log.out", b"log")
    path = promotion.fetch_model(connection, number, project.id, tmp_path)
    assert path == tmp_path / "model.zip"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("rule", [{"kind": "status", "value": 403}, {"kind": "html"}, {"kind": "redirect"}])
def test_a_refused_list_of_files_is_not_an_empty_one(connection, project, trained, server, tmp_path, rule):
    server.fail({"path": "attachedfile", "method": "GET", "times": 9} | rule)
    with pytest.raises(AnnotatorError) as caught:
        promotion.fetch_model(connection, trained[0], project.id, tmp_path)
    assert "trained no model" not in str(caught.value)


def test_a_model_that_does_not_arrive_whole_is_refused(connection, project, trained, server, tmp_path, no_pauses):
    number, attach = trained
    attach("model.zip", bytes(5000))
    server.fail({"path": "attachedfile/.*/download", "method": "GET", "kind": "close", "times": 9})
    with pytest.raises(AnnotatorError, match=f"broke .* when asked for the model of job {number}"):
        promotion.fetch_model(connection, number, project.id, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_too_large_is_refused(connection, project, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(promotion, "LARGEST_MODEL", 1000)
    number, attach = trained
    attach("model.zip", bytes(1001))
    with pytest.raises(AnnotatorError, match="larger than 1000 bytes"):
        promotion.fetch_model(connection, number, project.id, tmp_path)


def test_an_unfinished_job_has_no_model(connection, project, tmp_path, server, trained):
    server.store.update("job", trained[0], status=jobs.RUNNING)
    with pytest.raises(AnnotatorError, match=r"has not ended successfully \(status 2\)") as caught:
        promotion.fetch_model(connection, trained[0], project.id, tmp_path)
    assert caught.value.code is ExitCode.BAD_MODEL


def test_a_job_that_promoted_its_model_may_fail_afterwards(connection, project, tmp_path, server, trained):
    number, attach = trained
    attach("model.zip", b"better")
    promotion.promote(connection, number, number)
    server.store.update("job", number, status=jobs.FAILED)
    assert promotion.promoted_job(connection, project.id) == number
    assert promotion.fetch_model(connection, number, project.id, tmp_path).read_bytes() == b"better"


@pytest.mark.parametrize("mode", ["train ", " promote"])
def test_a_promotion_counts_also_where_the_mode_was_typed_with_a_blank(connection, project, mode):
    """The core keeps what was typed, and parts it at blanks for the command line."""
    launched = project.launch(mode=mode)
    assert launched.arguments[launched.arguments.index("--mode") + 1] == mode.strip()
    promotion.promote(connection, launched.job, launched.job)
    assert promotion.promoted_job(connection, project.id) == launched.job


def test_the_last_promotion_counts_also_where_its_job_began_first(connection, project):
    slow, quick = project.launch(mode="train").job, project.launch(mode="promote").job
    promotion.promote(connection, quick, None)
    promotion.promote(connection, slow, slow)
    assert promotion.promoted_job(connection, project.id) == slow


@pytest.mark.parametrize("value", ["the last one", "12.5", ""])
def test_a_promotion_that_names_no_job_is_told(connection, project, value):
    job = project.launch(mode="promote").job
    properties.record(connection, jobs.JOB, job, promotion.PROMOTED, value, f"job {job}")
    with pytest.raises(AnnotatorError, match=rf"'promoted_model' = '{value}' of job {job} .* Delete it"):
        promotion.promoted_job(connection, project.id)


def test_a_model_of_another_project_is_not_taken(connection, project, trained, tmp_path):
    number, attach = trained
    attach("model.zip", b"model")
    with pytest.raises(AnnotatorError, match=f"belongs to project {project.id}, not to 1") as caught:
        promotion.fetch_model(connection, number, 1, tmp_path)
    assert caught.value.code is ExitCode.BAD_MODEL


def test_a_failed_job_that_promoted_another_model_has_none_of_its_own(connection, project, trained, tmp_path, server):
    """As one that began with promoting an earlier model."""
    number, attach = trained
    attach("model.zip", b"half")
    promotion.promote(connection, number, number + 1000)
    server.store.update("job", number, status=jobs.FAILED)
    with pytest.raises(AnnotatorError, match="has not ended successfully"):
        promotion.fetch_model(connection, number, project.id, tmp_path)
