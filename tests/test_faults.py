"""Jobs under failures that nobody thought of: random ones, kills and restarts. Every annotation comes out once.

`pytest tests/test_faults.py --hypothesis-profile=thorough` tries 200 schedules of failures and 100 kills.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from PIL import Image

from annotator import job as job_module
from annotator.embedded import seed
from annotator.embedded.process import running
from annotator.embedded.store import Store
from annotator.errors import ExitCode
from annotator.parameters import descriptor
from annotator.platform import annotations
from tests.conftest import Project, Server

ROOT = Path(__file__).parents[1]
NAMES = ("harp_in_oil.png", "several.png", "empty_room.png", "violin_in_oil.png")
THOROUGH = settings.get_current_profile_name() == "thorough"
EACH_ON_ITS_OWN = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="module")
def pictures(small, tmp_path_factory):
    """Small pictures, among them one in which several instruments are found, in a folder of their own."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        if name != "several.png":
            shutil.copy(small / name, folder)
    parts = [Image.open(small / name) for name in (NAMES[0], NAMES[3], "duo_in_oil.png")]
    several = Image.new("RGB", (384, 128))
    for position, part in enumerate(parts):
        several.paste(part, (128 * position, 0))
    several.save(folder / "several.png")
    return folder


def painted(server, pictures):
    """A project of its own."""
    made = seed.create_project(server.store, "Paintings", server.user, ["Violin (3573)", "Harps"])
    software = seed.register_software(server.store, descriptor(), made["id"])
    project = Project(server, made["id"], made["ontology"], software["id"])
    for name in NAMES:
        project.add_image(pictures / name)
    return project


def launch(project, **values):
    return project.launch(threshold=0.05, **values)


def drawn(project):
    """What lies on each image, in the order of the images: outlines with their terms and properties."""
    store = project.server.store
    terms = {term["id"]: term["name"] for term in store.find("term", ontology=project.ontology)}
    found = {image["id"]: [] for image in store.find("imageinstance", project=project.id)}
    for item in project.annotations():
        rows = store.find("property", ownerKind="annotation", domainIdent=item["id"])
        named = [terms[row["term"]] for row in store.find("annotationterm", annotation=item["id"])]
        found[item["image"]].append((item["location"], named, sorted((row["key"], row["value"]) for row in rows)))
    return [sorted(items) for items in found.values()]


@pytest.fixture(scope="module")
def clean(_server, pictures):
    """What one undisturbed run draws."""
    project = painted(_server, pictures)
    assert job_module.run(launch(project).arguments) is ExitCode.OK
    assert max(map(len, drawn(project))) >= 2
    return drawn(project)


PLACES = [
    ("GET", "/api/"),
    ("GET", "/thumb|/window"),
    ("GET", r"/annotation\.json"),
    ("GET", r"/property\.json"),
    ("POST", "/api/"),
    ("POST", r"/annotation\.json"),
    ("POST", r"Job/.*/property\.json"),
    ("PUT", "/api/job"),
    ("DELETE", "/api/annotation"),
]
KINDS = [
    *({"kind": "status", "value": status} for status in (500, 502, 503, 504)),
    {"kind": "too_many", "value": 0},
    *({"kind": kind} for kind in ("close", "truncate", "html", "lost_answer", "twice")),
]


@st.composite
def failures(draw):
    if draw(st.integers(0, 4)) == 0:
        place, kind = (
            ("POST", r"/annotation\.json"),
            {"kind": draw(st.sampled_from(["partial", "no_properties", "no_terms"]))},
        )
    else:
        place, kind = draw(st.sampled_from(PLACES)), draw(st.sampled_from(KINDS))
    rule = {"method": place[0], "path": place[1], "times": draw(st.integers(1, 4)), "after": draw(st.integers(0, 12))}
    return rule | kind


@given(schedule=st.lists(failures(), min_size=1, max_size=6))
@settings(max_examples=200 if THOROUGH else 20, deadline=None, suppress_health_check=EACH_ON_ITS_OWN)
def test_whatever_fails_nothing_is_lost_or_doubled(server, pictures, clean, no_pauses, loaded_once, schedule):
    project = painted(server, pictures)
    first = launch(project)
    server.fail(*schedule)
    code = job_module.run(first.arguments)
    server.fail()
    note(f"{code!r}: {server.store.get('job', first.job)['statusComment']}")
    second = launch(project, resume=first.job)
    assert job_module.run(second.arguments) is ExitCode.OK
    # Not to the digit: pixels that came another way, because the first failed, are those of another JPEG file.
    for found, wanted in zip(drawn(project), clean, strict=True):
        overlaps = annotations._overlaps([item[0] for item in found], [item[0] for item in wanted])
        assert (overlaps > annotations.SAME_DETECTION).sum(axis=0).tolist() == [1] * len(wanted)
        assert len(found) == len(wanted)
        assert sorted(item[1] for item in found) == sorted(item[1] for item in wanted)
        assert all({"score", "instrument", "model"} <= dict(properties).keys() for _, _, properties in found)


ZYGOTE = """
import json, os, sys
import annotator.annotate, annotator.detection, annotator.job, annotator.models.builtin, run
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(run.main(json.loads(line)))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@contextlib.contextmanager
def processes():
    """A function that starts a job in a process of its own, without the seconds that imports take, and returns its id
    and a function that waits for its end.
    """
    command = [sys.executable, "-c", ZYGOTE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, text=True, bufsize=1, **pipes) as zygote:

        def lines():
            return (line for line in zygote.stdout if line.strip().isdigit() or line == "ended\n")

        def start(arguments):
            zygote.stdin.write(json.dumps(arguments[2:]) + "\n")
            child = int(next(lines()))
            return child, lambda: next(lines())

        yield start
        zygote.stdin.close()


@pytest.fixture(scope="module")
def start():
    with processes() as starter:
        yield starter


@given(data=st.data())
@settings(max_examples=100 if THOROUGH else 3, deadline=None, suppress_health_check=EACH_ON_ITS_OWN)
def test_a_killed_job_is_completed_by_the_next(server, pictures, clean, start, data):
    seconds = data.draw(st.floats(0, 2.0), label="seconds")  # first, for hypothesis may end an example here
    project = painted(server, pictures)
    first = launch(project)
    child, ended = start(first.arguments)
    # From its first sign of life on: what comes before is of no interest to anybody.
    store = server.store
    while store.get("job", first.job)["statusComment"] in (None, "", "Choosing images."):
        time.sleep(0.01)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.kill(child, signal.SIGKILL)
    ended()
    note(f"{sum(map(len, drawn(project)))} annotations, {store.get('job', first.job)['statusComment']}")
    second = launch(project, resume=first.job)
    _, ended = start(second.arguments)
    ended()
    assert store.get("job", second.job)["status"] == 3
    assert drawn(project) == clean


def test_a_server_that_is_started_anew_in_the_middle_is_waited_for(pictures, clean, tmp_path):
    def serving(port=0):
        return running(tmp_path, allow_faults=True, port=port)

    with serving() as access:
        store = Store(tmp_path)
        project = painted(Server(access, store, store.find("user", algo=False)[0]), pictures)
        launched = launch(project)
        codes = []
        thread = threading.Thread(target=lambda: codes.append(job_module.run(launched.arguments)))
        thread.start()
        while not project.annotations():
            time.sleep(0.005)
    time.sleep(3)  # longer than a request alone would be patient
    with serving(int(access.host.rpartition(":")[2])):
        thread.join(120)
    assert codes == [ExitCode.OK]
    assert drawn(project) == clean
