import threading
import time

import pytest

from annotator.platform import jobs
from annotator.platform.connection import Connection
from annotator.platform.jobs import RunningJob


def test_a_file_goes_to_the_page_of_the_job_under_its_own_name(connection, server, tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    job = RunningJob.launched(connection)
    job.upload("summary", tmp_path / "summary.json")
    (row,) = server.store.find("jobdata", job=job.id)
    assert (row["key"], row["filename"], row["size"]) == ("summary", "summary.json", 2)


def test_a_failed_job_keeps_its_progress_and_a_done_one_has_all(connection, server):
    job = RunningJob.launched(connection)
    job.report(41.6, "On the way.", at_once=True)
    job.fail("x" * 300)
    stored = server.store.get("job", job.id)
    assert (stored["status"], stored["progress"], stored["statusComment"]) == (jobs.FAILED, 42, "x" * 254 + "…")
    job.succeed("Done.")
    stored = server.store.get("job", job.id)
    assert (stored["status"], stored["progress"], stored["statusComment"]) == (jobs.SUCCESS, 100, "Done.")


def test_reports_come_at_most_once_a_second_and_may_get_lost(connection, server):
    job = RunningJob.launched(connection)
    server.fail({"path": "/api/job/", "method": "PUT", "kind": "status", "value": 500})
    job.report(1, "Lost.", at_once=True)
    job.report(2, "Too soon.")
    assert server.store.get("job", job.id)["statusComment"] is None
    job.report(3, "Heard.", at_once=True)
    assert server.store.get("job", job.id)["statusComment"] == "Heard."


def report_that_hangs(server, job, seconds):
    """The thread of a report that is on its way and stays there for so long."""
    server.fail({"path": "/api/job/", "method": "PUT", "kind": "hang", "value": seconds})
    late = threading.Thread(target=job.report, args=(40, "On the way."), kwargs={"at_once": True})
    late.start()
    time.sleep(0.3)
    return late


def test_a_report_that_is_on_its_way_does_not_undo_the_end(connection, server):
    job = RunningJob.launched(connection)
    late = report_that_hangs(server, job, 1.0)
    job.fail("It was not to be.")
    late.join()
    job.report(50, "Too late.", at_once=True)
    job.fail("It was not to be.")
    stored = server.store.get("job", job.id)
    told = stored["status"], stored["progress"], stored["statusComment"]
    assert told == (jobs.FAILED, 40, "It was not to be.")


def test_the_end_does_not_wait_for_a_report_that_hangs(connection, server, monkeypatch):
    monkeypatch.setattr(jobs, "LAST_REPORT", 0.2)
    job = RunningJob.launched(connection)
    late = report_that_hangs(server, job, 3.0)
    job.succeed("Done.")
    assert late.is_alive()
    assert server.store.get("job", job.id)["statusComment"] == "Done."
    late.join()


def test_telling_the_end_is_tried_again(connection, server, no_pauses):
    job = RunningJob.launched(connection)
    server.fail({"path": "/api/job/", "method": "PUT", "kind": "close", "times": 2})
    job.fail("It was not to be.")
    assert server.store.get("job", job.id)["statusComment"] == "It was not to be."


def test_a_person_s_job_gets_its_parameters_but_no_keys(server, project):
    from annotator.parameters import parse

    access = server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    assert RunningJob.launched(connection) is None
    arguments = project.human_arguments(cytomine_id_images="3,1", threshold=0.25)
    software = connection.get(f"software/{project.software}.json", what="the software")
    job = RunningJob.created(connection, project.id, project.software)
    job.begin_as_person(parse(arguments), software)
    assert connection.user["job"] == job.id
    names = {row["id"]: row["name"] for row in server.store.find("softwareparameter", software=project.software)}
    given = {names[row["softwareParameter"]]: row["value"] for row in server.store.find("jobparameter", job=job.id)}
    assert given == {
        "mode": "annotate", "cytomine_id_images": "3,1", "threshold": "0.25", "max_detections": "100",
        "create_terms": "False", "cytomine_reviewed": "1", "max_training_images": "500", "skip_annotated": "False",
        "evidence": "False", "adversarial": "False", "longest_side": "1792",
    }  # fmt: skip


def test_no_key_is_recorded_even_where_the_server_asks_for_it(server, project):
    """Software that was registered by hand may not say which parameters the server fills itself."""
    from annotator.parameters import parse

    access = server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    for row in server.store.find("softwareparameter", software=project.software):
        server.store.update("softwareparameter", row["id"], setByServer=False)
    software = connection.get(f"software/{project.software}.json", what="the software")
    job = RunningJob.created(connection, project.id, project.software)
    job.begin_as_person(parse(project.human_arguments()), software)
    recorded = {row["value"] for row in server.store.find("jobparameter", job=job.id)}
    assert "annotate" in recorded
    assert not recorded & {access.public_key, access.private_key}


@pytest.mark.parametrize("rule", [{"kind": "status", "value": 502}, {"kind": "lost_answer"}, {"kind": "close"}])
def test_a_person_s_job_begins_also_where_the_server_fails_once(server, project, no_pauses, rule):
    from annotator.parameters import parse

    access = server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    software = connection.get(f"software/{project.software}.json", what="the software")
    server.fail({"path": "jobparameter", "method": "POST", "after": 2} | rule)
    job = RunningJob.created(connection, project.id, project.software)
    job.begin_as_person(parse(project.human_arguments(threshold=0.25)), software)
    given = [row["softwareParameter"] for row in server.store.find("jobparameter", job=job.id)]
    assert len(given) == len(set(given)) == 10


def test_a_parameter_longer_than_the_server_takes_is_cut_in_its_record(server, project):
    from annotator.parameters import parse

    access = server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    images = ",".join(str(10_000_000 + number) for number in range(600))
    software = connection.get(f"software/{project.software}.json", what="the software")
    parameters = parse(project.human_arguments(cytomine_id_images=images))
    job = RunningJob.created(connection, project.id, project.software)
    job.begin_as_person(parameters, software)
    assert len(parameters.cytomine_id_images) == 600
    assert max(len(row["value"]) for row in server.store.find("jobparameter", job=job.id)) == 5000
