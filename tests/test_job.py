"""Whole jobs over real HTTP, against a server in another process."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from cytomine import Cytomine
from cytomine.models import AnnotationCollection, PropertyCollection
from PIL import Image

from annotator import job as job_module
from annotator.embedded import seed
from annotator.errors import ExitCode
from annotator.explain.crops import SIDE, crop_around
from annotator.models import bundle
from annotator.parameters import descriptor
from annotator.platform import promotion
from annotator.platform.connection import Connection
from tests.conftest import Project

ROOT = Path(__file__).parents[1]
SUCCESS, FAILED = 3, 4


def run_process(arguments, **options):
    command = [sys.executable, "run.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240, **options)


NAMES = ("harp_in_oil.png", "empty_room.png", "violin_in_oil.png")  # the second shows no instrument


@pytest.fixture
def painted(project, small):
    for name in NAMES:
        project.add_image(small / name)
    return project


@pytest.fixture
def painted_large(project, gallery):
    for name in NAMES:
        project.add_image(gallery / name)
    return project


@pytest.fixture(autouse=True)
def _log_without_keys(server, caplog):
    yield
    keys = {user[key] for user in server.store.find("user") for key in ("publicKey", "privateKey")}
    assert not [key for key in keys if key in caplog.text]


def only_job(project):
    (found,) = project.jobs()
    return found


# --- the two ways in, as separate processes ------------------------------------------------------------------------


def check_annotations(painted, user, server):
    """Read back with the plain client: term, score, valid polygon inside the image."""
    access = server.access
    Cytomine(access.host, access.public_key, access.private_key, verbose=50, configure_logging=False)
    found = AnnotationCollection(project=painted.id, user=user, showWKT=True, showTerm=True).fetch()
    terms = {term["id"]: term["name"] for term in server.store.find("term", ontology=painted.ontology)}
    names = set()
    for item in found:
        item.class_ = "be.cytomine.ontology.AlgoAnnotation"
        properties = {row.key: row.value for row in PropertyCollection(item).fetch()}
        shape = shapely.from_wkt(item.location)
        assert shape.is_valid
        assert shapely.box(0, 0, 1000, 1000).covers(shape)
        assert 0.5 <= float(properties["score"]) <= 1
        assert re.fullmatch(r"imagenet-efficientnet-lite0 [0-9a-f]{12}", properties["model"])
        if "also" in properties:
            assert re.fullmatch(r"[A-Z][\w ]* [01]\.\d\d(, [A-Z][\w ]* [01]\.\d\d)*", properties["also"])
            assert properties["instrument"] not in properties["also"]
        assert len(item.term) <= 1
        names |= {terms[number] for number in item.term}
    return names, found


def test_from_a_shell_with_a_persons_keys(painted_large, server):
    ended = run_process(painted_large.human_arguments())
    assert ended.returncode == ExitCode.OK, ended.stdout + ended.stderr
    job = only_job(painted_large)
    assert (job["status"], job["progress"]) == (SUCCESS, 100)
    said = r"\d+ instruments? in \d of 3 images\. 3 images to look at next: look_next\.html\."
    assert re.fullmatch(said, job["statusComment"])
    names, found = check_annotations(painted_large, job["userJob"], server)
    assert "Harps" in names
    assert found
    # The flip: the harp's column stands at the left, its feet low in Cytomine's frame.
    harp = next(item for item in found if item.term and item.image == min(a.image for a in found))
    assert shapely.from_wkt(harp.location).intersection(shapely.box(0, 0, 500, 500)).area > 0
    assert not re.search(f"{server.access.public_key}|{server.access.private_key}", ended.stdout + ended.stderr)


def test_launched_from_the_page_with_a_jobs_keys(painted_large, server, tmp_path):
    launched = painted_large.launch(threshold=0.6, create_terms=True, max_detections=1)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    ended = run_process(
        ["python", "run.py", *launched.arguments[2:]], env=environment
    )  # the two strays of an image's entry point
    assert ended.returncode == ExitCode.OK, ended.stdout + ended.stderr
    job = only_job(painted_large)
    assert (job["id"], job["status"]) == (launched.job, SUCCESS)
    names, found = check_annotations(painted_large, job["userJob"], server)
    assert {"Harps"} <= names
    assert all(item.term for item in found)
    per_image = [item.image for item in found]
    assert len(per_image) == len(set(per_image))
    keys = [
        launched.arguments[launched.arguments.index(f"--cytomine_{kind}_key") + 1] for kind in ("public", "private")
    ]
    assert not any(key in ended.stdout + ended.stderr for key in keys)
    assert list(tmp_path.iterdir()) == []


def test_what_keras_is_told_in_a_persons_home_does_not_count(painted, server, loaded_once, tmp_path):
    """Singularity shows the home to the container."""
    settings = {"backend": "jax", "floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(json.dumps(settings))
    given = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    one, other = painted.launch(), painted.launch()
    ended = run_process(one.arguments[2:], env=given | {"HOME": str(tmp_path)})
    assert ended.returncode == ExitCode.OK, ended.stdout + ended.stderr
    assert job_module.run(other.arguments) is ExitCode.OK
    scores = []
    for job in painted.jobs():
        drawn = [item["id"] for item in painted.annotations() if item["user"] == job["userJob"]]
        rows = [row for number in drawn for row in server.store.find("property", domainIdent=number, key="score")]
        scores.append(sorted(float(row["value"]) for row in rows))
    assert scores[0]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


@pytest.mark.parametrize("hanging", [False, True], ids=["", "while the server hangs"])
def test_interrupted_in_the_middle(painted_large, server, gallery, tmp_path, hanging):
    for _ in range(30):
        painted_large.add_image(gallery / "harp_in_oil.png")
    command = [sys.executable, "run.py", *painted_large.launch().arguments[2:]]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        deadline = time.monotonic() + 200
        while not painted_large.annotations() and time.monotonic() < deadline:
            time.sleep(0.2)
        if hanging:
            server.fail({"path": "/thumb", "method": "GET", "kind": "hang", "value": 100, "times": 2})
            time.sleep(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == ExitCode.INTERRUPTED
    finally:
        process.kill()
    job = only_job(painted_large)
    assert job["status"] == FAILED
    assert job["statusComment"].startswith("Interrupted. ")
    assert job["statusComment"].endswith(f" To go on, launch again with mode annotate and resume {job['id']}.")
    assert painted_large.annotations()  # what was stored stays
    assert list(tmp_path.iterdir()) == []


def test_small_instruments_are_found_where_more_pixels_are_looked_at(
    project, wide, no_pauses, server, loaded_once, caplog
):
    caplog.set_level("INFO")
    project.add_image(wide)
    assert job_module.run(project.launch(create_terms=True).arguments) is ExitCode.OK
    assert project.annotations() == []
    launched = project.launch(create_terms=True, longest_side=100_000, evidence=True)
    assert job_module.run(launched.arguments) is ExitCode.OK
    (drawn,) = project.annotations()
    found = shapely.from_wkt(drawn["location"])
    harp = shapely.box(4100, 480 - 325, 4198, 480 - 200)
    assert found.intersection(harp).area > 0.5 * found.union(harp).area
    shares = re.findall(r" (\d+) % 0 of 1 image; of the next, wide\.png, (\d+)%\.", caplog.text)
    assert len(shares) >= 10
    assert shares[-1] == ("99", "100")
    (file,) = server.store.find("attachedfile", ownerKind="annotation", domainIdent=drawn["id"])
    with Image.open(server.store.file(file["stored"])) as shown, Image.open(wide) as whole:
        x0, y0, x1, y1 = found.bounds
        full = np.asarray(whole.convert("RGB"))
        wanted = crop_around(full, np.array([x0, whole.height - y1, x1, whole.height - y0]), (127, 127, 127))
        cut = np.asarray(shown)[:SIDE, :SIDE]
        detail = [np.abs(np.diff(one.astype(float), axis=1)).mean() for one in (cut, wanted)]
    assert detail[0] > 0.8 * detail[1]  # not of the pixels that a job without longest_side looks at

    server.fail({"path": "/window-", "method": "GET", "kind": "html", "times": 99})
    launched = project.launch(longest_side=100_000)
    assert job_module.run(launched.arguments) is ExitCode.BAD_IMAGE
    comment = server.store.get("job", launched.job)["statusComment"]
    assert re.search(r"wide\.png: its part at 0, 0: its pixels cannot be decoded", comment)


# --- mistakes and failures, in this process ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        ({"cytomine_public_key": "nobody"}, ExitCode.CONNECTION, "does not know the public key"),
        ({"cytomine_private_key": "wrong"}, ExitCode.CONNECTION, "does not accept the signature"),
        ({"cytomine_host": "http://127.0.0.1:9"}, ExitCode.CONNECTION, "No Cytomine server answers"),
        ({"cytomine_id_project": 999_999}, ExitCode.NOT_FOUND, "Not found: project 999999"),
        ({"cytomine_id_software": 999_999}, ExitCode.NOT_FOUND, "Not found: software 999999"),
        ({"threshold": "high"}, ExitCode.USAGE, "--threshold is 'high'"),
    ],
)
def test_mistakes_before_there_is_a_job(painted, no_pauses, caplog, changed, code, message):
    assert job_module.run(painted.human_arguments(**changed)) is code
    assert message in caplog.text
    assert painted.jobs() == []


@pytest.mark.parametrize(
    ("values", "code", "message"),
    [
        ({"threshold": 3}, ExitCode.USAGE, "--threshold is 3, it must lie between 0 and 1."),
        ({"cytomine_id_images": "999999"}, ExitCode.NOT_FOUND, "has no image 999999"),
        ({"cytomine_id_job": 999_999}, ExitCode.NOT_FOUND, "Not found: training job 999999"),
    ],
)
def test_mistakes_of_a_launched_job_stand_on_its_page(painted, no_pauses, values, code, message):
    launched = painted.launch(**values)
    assert job_module.run(launched.arguments) is code
    job = only_job(painted)
    assert job["status"] == FAILED
    assert message in job["statusComment"]


@pytest.mark.parametrize(
    ("path", "method"), [("jobparameter", "POST"), (r"user/\d+\.json", "GET")], ids=["parameters", "keys"]
)
def test_a_person_s_job_that_cannot_begin_has_failed_on_its_page_too(painted, server, no_pauses, path, method):
    server.fail({"path": path, "method": method, "kind": "status", "value": 500, "times": 99})
    assert job_module.run(painted.human_arguments()) is ExitCode.CONNECTION
    job = only_job(painted)
    assert job["status"] == FAILED
    assert "answered 500 when asked for " in job["statusComment"]


def test_a_project_without_ontology_is_told(painted, server, no_pauses):
    server.store.update("project", painted.id, ontology=None)
    launched = painted.launch()
    assert job_module.run(launched.arguments) is ExitCode.NOT_FOUND
    assert only_job(painted)["statusComment"].startswith(f"Project {painted.id} has no ontology.")


def test_workers_are_sent_no_large_pictures(painted):
    launched = painted.launch(longest_side=5000)
    assert job_module.run(launched.arguments, "tcp://127.0.0.1:9") is ExitCode.USAGE
    comment = painted.server.store.get("job", launched.job)["statusComment"]
    assert comment.startswith("--longest_side is 5000, but workers are sent no more than 1792 pixels.")


def test_a_launched_job_of_an_unknown_project_says_so(painted, no_pauses):
    arguments = painted.launch().arguments
    arguments[arguments.index("--cytomine_id_project") + 1] = "999999"
    assert job_module.run(arguments) is ExitCode.NOT_FOUND
    assert "Not found: project 999999" in only_job(painted)["statusComment"]


def test_a_project_without_images(project, no_pauses):
    assert job_module.run(project.launch().arguments) is ExitCode.NOT_FOUND
    assert "has no images. Add some" in only_job(project)["statusComment"]


def test_an_ontology_without_instruments(server, picture, no_pauses, project):
    empty = seed.create_project(server.store, "People", server.user, ["Person"])
    seed.add_image(server.store, empty["id"], picture)
    arguments = project.human_arguments(cytomine_id_project=empty["id"])
    assert job_module.run(arguments) is ExitCode.NOT_FOUND
    (job,) = server.store.find("job", project=empty["id"])
    assert "None of the ontology's 1 terms is an instrument that the model knows." in job["statusComment"]


def finished_job(project, status=SUCCESS):
    server = project.server
    job = seed.create_job(server.store, project.id, project.software, server.user["id"])
    server.store.update("job", job["id"], status=status)
    return job["id"]


def attach(project, job, content):
    store = project.server.store
    store.add(
        "attachedfile", ownerKind="job", domainIdent=job, filename=promotion.MODEL_FILE, stored=store.add_file(content)
    )


def test_a_model_that_a_training_job_made(painted, builtin_model, tmp_path):
    bundle.save(builtin_model, tmp_path / "model.zip")
    trained = finished_job(painted)
    attach(painted, trained, (tmp_path / "model.zip").read_bytes())
    launched = painted.launch(cytomine_id_job=trained)
    assert job_module.run(launched.arguments) is ExitCode.OK
    assert painted.annotations()


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (SUCCESS, None, "has no file model.zip"),
        (FAILED, None, "has not ended successfully (status 4)"),
        (SUCCESS, b"PK\x05\x06" + bytes(18), "The model 'model.zip' cannot be used"),
        (SUCCESS, b"\x80\x04cos\nsystem\n", "The model 'model.zip' cannot be used"),
    ],
)
def test_training_jobs_without_a_usable_model(painted, no_pauses, status, content, message):
    trained = finished_job(painted, status)
    if content is not None:
        attach(painted, trained, content)
    launched = painted.launch(cytomine_id_job=trained)
    assert job_module.run(launched.arguments) is ExitCode.BAD_MODEL
    assert message in painted.server.store.get("job", launched.job)["statusComment"]


def test_a_training_that_had_promoted_its_model_before_a_restart_is_not_done_again(painted, builtin_model, tmp_path):
    launched = painted.launch(mode="train_and_annotate")
    named = replace(builtin_model, configuration=replace(builtin_model.configuration, name="newest"))
    bundle.save(named, tmp_path / "model.zip")
    attach(painted, launched.job, (tmp_path / "model.zip").read_bytes())
    access = painted.server.access
    promotion.promote(Connection(access.host, access.public_key, access.private_key), launched.job, launched.job)
    assert job_module.run(launched.arguments) is ExitCode.OK
    comment = painted.server.store.get("job", launched.job)["statusComment"]
    assert comment.startswith("Promoted, before this job was started again. ")
    assert models(painted) == {"newest"}
    # Cut off instead, it is completed with its own model, even where another was promoted meanwhile.
    painted.server.store.update("job", launched.job, status=FAILED)
    assert job_module.run(painted.launch(mode="promote").arguments) is ExitCode.OK
    completed = painted.launch(resume=launched.job)
    assert job_module.run(completed.arguments) is ExitCode.OK
    assert "3 images done before" in painted.server.store.get("job", completed.job)["statusComment"]


def models(project):
    """Names of the models that drew what the project has."""
    rows = project.server.store.find("property", ownerKind="annotation", key="model")
    own = {item["id"] for item in project.annotations()}
    return {row["value"].rsplit(" ", 1)[0] for row in rows if row["domainIdent"] in own}


def test_a_job_that_is_started_again_does_not_go_on_with_another_model(painted, builtin_model, tmp_path):
    launched = painted.launch()
    assert job_module.run(launched.arguments) is ExitCode.OK
    other = finished_job(painted)
    named = replace(builtin_model, configuration=replace(builtin_model.configuration, name="other"))
    bundle.save(named, tmp_path / "model.zip")
    attach(painted, other, (tmp_path / "model.zip").read_bytes())
    assert job_module.run(painted.launch(mode="promote", cytomine_id_job=other).arguments) is ExitCode.OK
    assert job_module.run(launched.arguments) is ExitCode.USAGE
    comment = painted.server.store.get("job", launched.job)["statusComment"]
    assert comment.startswith("This job worked with imagenet-efficientnet-lite0 ")
    assert ", now with other " in comment
    assert comment.endswith(": together they would mix. Launch a new one.")


def test_a_promoted_model_that_is_gone_is_told_with_the_way_back(painted, no_pauses, tmp_path):
    trained = finished_job(painted)
    access = painted.server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    promoting = painted.launch(mode="promote").job
    promotion.promote(connection, promoting, trained)
    launched = painted.launch()
    assert job_module.run(launched.arguments) is ExitCode.BAD_MODEL
    comment = painted.server.store.get("job", launched.job)["statusComment"]
    assert comment.startswith(f"Job {trained} has no file model.zip: it trained no model. ")
    assert comment.endswith(
        f"The project uses the model of job {trained}, which was promoted: launch with mode promote and another "
        "training job, or with none to go back to the built-in model."
    )
    assert job_module.run(painted.launch(mode="promote").arguments) is ExitCode.OK
    assert job_module.run(painted.launch().arguments) is ExitCode.OK


def test_a_training_job_of_another_project(painted, no_pauses, server):
    other = seed.create_project(server.store, "Other", server.user)
    trained = seed.create_job(server.store, other["id"], painted.software, server.user["id"])["id"]
    launched = painted.launch(cytomine_id_job=trained)
    assert job_module.run(launched.arguments) is ExitCode.BAD_MODEL
    assert "belongs to project" in painted.server.store.get("job", launched.job)["statusComment"]


def test_bad_images_do_not_stop_the_others(painted, tmp_path, no_pauses):
    painted.add_image(tmp_path / "gone.jpg", size=(50, 50))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    painted.add_image(tmp_path / "broken.png", size=(50, 50))
    Image.new("RGB", (1, 1)).save(tmp_path / "pixel.png")
    painted.add_image(tmp_path / "pixel.png")
    Image.new("RGB", (20_000, 30)).save(tmp_path / "strip.png")
    painted.add_image(tmp_path / "strip.png")
    assert job_module.run(painted.launch().arguments) is ExitCode.OK
    job = only_job(painted)
    assert job["status"] == SUCCESS
    assert re.search(
        r"of 7 images\. 5 images to look at next: look_next\.html\. 2 images failed: gone\.jpg: ", job["statusComment"]
    )
    assert len(job["statusComment"]) <= 255
    assert painted.annotations()


def test_a_connection_that_breaks_on_one_image_does_not_stop_the_others(painted, server, no_pauses):
    numbers = [image["id"] for image in server.store.find("imageinstance", project=painted.id)]
    launched = painted.launch()
    server.fail({"path": f"imageinstance/{numbers[0]}/", "method": "GET", "kind": "close", "times": 99})
    assert job_module.run(launched.arguments) is ExitCode.OK
    job = only_job(painted)
    assert re.search(
        r"of 3 images\. 2 images to look at next: look_next\.html\. "
        r"1 image failed: harp_in_oil\.png: The connection .* broke",
        job["statusComment"],
    )
    (data,) = server.store.find("jobdata", job=job["id"], key="summary")
    summary = json.loads(server.store.file(data["stored"]).read_text())
    assert [image["id"] for image in summary["images"]] == numbers
    assert ["error" in image for image in summary["images"]] == [True, False, False]


def test_a_job_of_nothing_but_bad_images_fails(project, tmp_path, no_pauses):
    project.add_image(tmp_path / "gone.jpg", size=(50, 50))
    assert job_module.run(project.launch().arguments) is ExitCode.BAD_IMAGE
    assert only_job(project)["status"] == FAILED


def test_a_job_in_which_more_than_half_of_the_images_failed_fails(project, small, tmp_path, no_pauses):
    for number in range(2):
        project.add_image(small / "harp_in_oil.png")
        project.add_image(tmp_path / f"gone{number}.jpg", size=(50, 50))
    assert job_module.run(project.launch().arguments) is ExitCode.OK
    project.add_image(tmp_path / "gone2.jpg", size=(50, 50))
    assert job_module.run(project.launch().arguments) is ExitCode.BAD_IMAGE
    half, more = project.jobs()
    assert re.search(
        r"in 2 of 4 images\. 2 images to look at next: look_next\.html\. 2 images failed: gone0\.jpg: ",
        half["statusComment"],
    )
    assert more["status"] == FAILED
    assert more["statusComment"].startswith("More than half of the images: 3 images failed: gone0.jpg: ")
    assert more["statusComment"].endswith(
        f"in 2 of 5 images. To go on, launch again with mode annotate and resume {more['id']}."
    )
    assert len(more["statusComment"]) <= 255


def test_an_image_whose_annotations_are_refused_does_not_stop_the_others(project, small, server, no_pauses):
    for _ in range(3):
        project.add_image(small / "harp_in_oil.png")
    server.fail({"path": "annotation.json", "method": "POST", "kind": "status", "value": 404, "times": 1})
    assert job_module.run(project.launch().arguments) is ExitCode.OK
    assert re.search(r"1 image failed: harp_in_oil\.png: \d of \d annotations? ", only_job(project)["statusComment"])


def test_without_the_right_to_annotate_no_other_image_is_tried(project, small, server, no_pauses):
    for _ in range(3):
        project.add_image(small / "harp_in_oil.png")
    server.fail({"path": "annotation.json", "method": "POST", "kind": "status", "value": 403, "times": 1})
    assert job_module.run(project.launch().arguments) is ExitCode.UPLOAD
    assert "No right to use" in only_job(project)["statusComment"]
    assert project.annotations() == []


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"path": "annotation.json", "method": "POST", "kind": "status", "value": 500, "times": 99}, ExitCode.UPLOAD),
        ({"path": "term.json", "method": "GET", "kind": "html", "times": 99}, ExitCode.CONNECTION),
        ({"path": "imageinstance.json", "method": "GET", "kind": "redirect", "times": 99}, ExitCode.CONNECTION),
        ({"path": "/api/job/", "method": "PUT", "kind": "status", "value": 500, "times": 2}, ExitCode.OK),
        ({"path": "annotation.json", "method": "POST", "kind": "partial", "times": 2}, ExitCode.OK),
        ({"path": "annotation.json", "method": "POST", "kind": "lost_answer", "times": 2}, ExitCode.OK),
        ({"path": "thumb", "method": "GET", "kind": "status", "value": 504, "times": 2}, ExitCode.OK),
    ],
    ids=lambda value: f"{value['path']}-{value['kind']}" if isinstance(value, dict) else "",
)
def test_a_server_in_trouble(project, small, server, no_pauses, rule, code):
    project.add_image(small / "harp_in_oil.png")
    launched = project.launch()
    server.fail(rule)
    assert job_module.run(launched.arguments) is code
    job = only_job(project)
    assert job["status"] == (SUCCESS if code is ExitCode.OK else FAILED)
    stored = [(item["image"], item["location"]) for item in project.annotations()]
    assert len(stored) == len(set(stored))
    assert bool(stored) == (code is ExitCode.OK)


def test_a_full_disk(painted, no_pauses, tmp_path):
    """The job may write files of no more than 200 bytes: its summary does not fit."""
    limit = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "  # fmt: skip  # noqa: E501
    script = (
        f"{limit}import runpy, sys; sys.argv = ['run.py', *sys.argv[1:]]; runpy.run_path('run.py', run_name='__main__')"
    )
    arguments = painted.launch(
        cytomine_id_images=painted.server.store.find("imageinstance", project=painted.id)[0]["id"]
    )
    ended = subprocess.run(
        [sys.executable, "-B", "-c", script, *arguments.arguments[2:]],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert ended.returncode == ExitCode.DISK, ended.stdout + ended.stderr
    job = only_job(painted)
    assert job["status"] == FAILED
    assert os.strerror(errno.EFBIG) in job["statusComment"]
    assert "Free some space" in job["statusComment"]
    assert painted.annotations()
    assert list(tmp_path.iterdir()) == []


def test_no_name_of_a_term_can_forge_a_line_of_the_log(server, picture):
    made = seed.create_project(server.store, "Forged", server.user, ["Violin", "x\n2026-01-01 ERROR \x1b[31mforged"])
    software = seed.register_software(server.store, descriptor(), made["id"])
    project = Project(server, made["id"], made["ontology"], software["id"])
    project.add_image(picture)
    done = run_process(project.launch(mode="train").arguments)
    assert "x?2026-01-01 ERROR ?[31mforged" in done.stdout
    assert not re.search("^2026-01-01 ERROR", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout
