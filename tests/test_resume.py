"""Jobs that were cut off, started again, launched twice and undone: every annotation once, over real HTTP."""

import threading

import pytest

from annotator import job as job_module
from annotator.__main__ import main
from annotator.embedded import annotations as stored
from annotator.errors import ExitCode
from annotator.platform import connection

NAMES = ("harp_in_oil.png", "empty_room.png", "violin_in_oil.png", "harp_in_oil.png")


pytestmark = pytest.mark.usefixtures("no_pauses", "loaded_once")


@pytest.fixture
def painted(project, small):
    for name in NAMES:
        project.add_image(small / name)
    return project


def drawn(project, *jobs):
    """What lies on each image, of these jobs or of all."""
    users = [project.server.store.get("job", job)["userJob"] for job in jobs]
    return sorted(
        (item["image"], item["location"])
        for item in project.annotations()
        if item["layer"] == "algo" and (not users or item["user"] in users)
    )


@pytest.fixture
def clean(painted):
    """What one undisturbed run draws."""
    launched = painted.launch()
    assert job_module.run(launched.arguments) is ExitCode.OK
    return drawn(painted, launched.job)


class PowerCut(BaseException):
    """The machine is gone: nothing after it runs."""


def cut_off_after(monkeypatch, requests):
    """From the given request that changes something on, the job's machine is gone."""
    left = [requests]

    def dying(original):
        def send(self, *arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise PowerCut
            return original(self, *arguments, **options)

        return send

    for method in ("post", "put"):
        monkeypatch.setattr(connection.Connection, method, dying(getattr(connection.Connection, method)))


@pytest.mark.parametrize("requests", [3, 5, 6, 7, 8, 9, 11])
def test_a_job_that_was_cut_off_is_completed_by_the_next(painted, clean, monkeypatch, requests):
    first = painted.launch()
    with monkeypatch.context() as patch:
        cut_off_after(patch, requests)
        with pytest.raises(PowerCut):
            job_module.run(first.arguments)
    second = painted.launch(resume=first.job)
    assert job_module.run(second.arguments) is ExitCode.OK
    assert drawn(painted, first.job, second.job) == clean


def test_the_same_job_started_again_doubles_nothing(painted, clean, monkeypatch):
    launched = painted.launch()
    with monkeypatch.context() as patch:
        cut_off_after(patch, 7)
        with pytest.raises(PowerCut):
            job_module.run(launched.arguments)
    for _ in range(2):
        assert job_module.run(launched.arguments) is ExitCode.OK
        assert drawn(painted, launched.job) == clean


def test_resuming_what_itself_resumed(painted, clean, monkeypatch):
    jobs = [painted.launch()]
    for requests in (7, 8):
        with monkeypatch.context() as patch:
            cut_off_after(patch, requests)
            with pytest.raises(PowerCut):
                job_module.run(jobs[-1].arguments)
        jobs.append(painted.launch(resume=jobs[-1].job))
    assert job_module.run(jobs[-1].arguments) is ExitCode.OK
    assert drawn(painted, *(launched.job for launched in jobs)) == clean


def test_each_job_that_is_gone_on_with_is_read_once(painted, clean, monkeypatch):
    first = painted.jobs()[0]["id"]
    asked = []
    get = connection.Connection.get

    def counted(self, path, *arguments, **options):
        asked.append(path)
        return get(self, path, *arguments, **options)

    monkeypatch.setattr(connection.Connection, "get", counted)
    assert job_module.run(painted.launch(resume=first).arguments) is ExitCode.OK
    assert asked.count(f"job/{first}.json") == 1


def test_other_settings_are_not_mixed(painted, clean):
    first = painted.jobs()[0]["id"]
    second = painted.launch(resume=first, max_detections=1)
    assert job_module.run(second.arguments) is ExitCode.USAGE
    comment = painted.server.store.get("job", second.job)["statusComment"]
    assert "at most 100 detections" in comment
    assert "at most 1 detections" in comment
    assert drawn(painted, second.job) == []


def test_images_that_the_model_has_done_are_skipped(painted, clean, small):
    painted.add_image(small / NAMES[0])
    launched = painted.launch(skip_annotated=True)
    assert job_module.run(launched.arguments) is ExitCode.OK
    added = max(image["id"] for image in painted.server.store.find("imageinstance", project=painted.id))
    assert {image for image, _ in drawn(painted, launched.job)} == {added}
    assert "4 images done before" in painted.server.store.get("job", launched.job)["statusComment"]


def test_images_that_the_model_has_seen_in_less_detail_are_not_skipped(painted, clean):
    launched = painted.launch(skip_annotated=True, longest_side=4000)
    assert job_module.run(launched.arguments) is ExitCode.OK
    assert "done before" not in painted.server.store.get("job", launched.job)["statusComment"]


def test_two_jobs_at_once_do_not_disturb_each_other(painted, clean):
    launched = [painted.launch() for _ in range(2)]
    codes = []
    threads = [threading.Thread(target=lambda own=own: codes.append(job_module.run(own.arguments))) for own in launched]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [ExitCode.OK] * 2
    assert [drawn(painted, own.job) for own in launched] == [clean, clean]


@pytest.mark.parametrize("kind", ["lost_answer", "close"])
def test_an_outcome_whose_answer_got_lost_is_written_once(painted, server, kind):
    launched = painted.launch()
    rule = {"path": "Job/.*/property.json", "method": "POST", "kind": kind, "times": 3}
    server.fail(rule)
    assert job_module.run(launched.arguments) is ExitCode.OK
    keys = [row["key"] for row in server.store.find("property", ownerKind="job", domainIdent=launched.job)]
    assert len(keys) == len(set(keys))


def undo(project, job):
    access = project.server.access
    keys = ["--cytomine_public_key", access.public_key, "--cytomine_private_key", access.private_key]
    return main(["undo", "--job", str(job), "--cytomine_host", access.host, *keys])


def test_undo_keeps_what_people_drew_and_reviewed(painted, clean, capsys):
    store, user = painted.server.store, painted.server.user
    job = painted.jobs()[0]
    other = painted.launch()
    assert job_module.run(other.arguments) is ExitCode.OK
    accepted = next(item for item in painted.annotations() if item["user"] == job["userJob"])
    image = store.update("imageinstance", accepted["image"], reviewUser=user["id"], inReview=True)
    stored.review(store, user, accepted, [])
    stored.add(store, user, {"image": image["id"], "location": "POLYGON ((0 0, 9 0, 9 9, 0 0))"})
    capsys.readouterr()

    assert undo(painted, job["id"]) == ExitCode.OK
    assert capsys.readouterr().out == (
        f"Job {job['id']}: {len(clean) - 1} annotation{'s' * (len(clean) != 2)} deleted. "
        "1 annotation kept, because people have reviewed them.\n"
    )
    assert [item["id"] for item in painted.annotations() if item["user"] == job["userJob"]].count(accepted["id"]) == 1
    assert sum(item["layer"] == "user" for item in painted.annotations()) == 1
    assert sum(item["layer"] == "reviewed" for item in painted.annotations()) == 1
    assert drawn(painted, other.job) == clean
    # What was undone can be done again, and what was kept is not doubled.
    again = painted.launch(resume=job["id"])
    assert job_module.run(again.arguments) is ExitCode.OK
    assert drawn(painted, job["id"], again.job) == clean
