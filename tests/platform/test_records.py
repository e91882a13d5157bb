"""What jobs write down about what they have done, and how others read it."""

import pytest

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import properties, records
from annotator.platform.jobs import JOB


@pytest.fixture
def done(connection, project):
    """A job that has finished two images."""
    job = project.launch().job
    records.begin(connection, job, "settings", "a model", None)
    for image, count in ((11, 3), (12, 0)):
        records.finish(connection, job, image, count)
    return job


def test_what_one_model_has_done_is_known_to_other_jobs(connection, project, done):
    other = project.launch().job
    records.begin(connection, other, "settings", "another model", None)
    records.finish(connection, other, 13, 1)
    assert records.done_by_model(connection, project.id, "a model") == {11: 3, 12: 0}
    assert records.read(connection, done, project.id).settings == "settings"


def test_where_somebody_deleted_what_a_job_drew_nothing_is_done(connection, project, done):
    """With the button on Cytomine's page: else its images would be left out for ever."""
    project.server.store.update("job", done, dataDeleted=True)
    assert records.done_by_model(connection, project.id, "a model") == {}
    (record,) = records.earlier_jobs(connection, done, project.id)
    assert record.done == {}


def test_a_job_of_another_project_is_not_gone_on_with(connection, project, done):
    with pytest.raises(AnnotatorError, match=rf"Job {done} belongs to project {project.id}, not to 1\.") as caught:
        records.earlier_jobs(connection, done, 1)
    assert caught.value.code is ExitCode.NOT_FOUND


def test_a_job_that_wrote_nothing_down_can_be_gone_on_with(connection, project):
    """It was cut off before it began."""
    (record,) = records.earlier_jobs(connection, project.launch().job, project.id)
    assert (record.settings, record.done) == (None, {})
    records.check_settings([record], "any settings")


def test_jobs_that_go_on_with_each_other_end(connection, project):
    """As after somebody launched a job again with its own number."""
    one, other = (project.launch().job for _ in range(2))
    for job, resumes in ((one, other), (other, one)):
        records.begin(connection, job, "settings", "a model", resumes)
    found = records.earlier_jobs(connection, one, project.id)
    assert [record.resumes for record in found] == [other, one]


@pytest.mark.parametrize(("key", "value"), [("image-11", "many"), ("image-eleven", "3"), ("resumes", "")])
def test_what_a_person_wrote_over_is_named(connection, project, done, key, value):
    """Everybody who may edit the project can add properties to its jobs."""
    job = project.launch().job
    properties.record(connection, JOB, job, key, value, f"job {job}")
    with pytest.raises(AnnotatorError, match=rf"'{key}' = '{value}' of job {job} .* Delete it") as caught:
        records.read(connection, job, project.id)
    assert caught.value.code is ExitCode.USAGE


def test_a_record_that_cannot_be_written_stops_no_job(connection, project, server, no_pauses):
    job = project.launch().job
    server.fail({"path": "property", "method": "POST", "kind": "status", "value": 403, "times": 9})
    records.finish(connection, job, 11, 3)
    assert records.read(connection, job, project.id).done == {}


def test_what_is_forgotten_is_what_was_done_and_nothing_else(connection, project, done):
    records.forget(connection, done)
    record = records.read(connection, done, project.id)
    assert (record.done, record.settings, record.model) == ({}, "settings", "a model")
    keys = [row["key"] for row in project.server.store.find("property", ownerKind="job", domainIdent=done)]
    assert sorted(keys) == [records.MODEL, records.SETTINGS]
