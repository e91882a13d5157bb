"""The unmodified client against the embedded server, in another process."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import requests
from cytomine import Cytomine, CytomineJob
from cytomine.models import (
    Annotation,
    AnnotationCollection,
    AnnotationTerm,
    AttachedFile,
    AttachedFileCollection,
    ImageInstance,
    ImageInstanceCollection,
    Job,
    JobCollection,
    JobData,
    Ontology,
    Project,
    ProjectCollection,
    Property,
    PropertyCollection,
    Software,
    SoftwareParameterCollection,
    Tag,
    TagDomainAssociation,
    Term,
    TermCollection,
)
from cytomine.models.software import JobDataCollection
from cytomine.utilities.descriptor_reader import read_descriptor
from PIL import Image
from shapely import wkt

from annotator.__main__ import main
from annotator.embedded import pixels, seed
from annotator.embedded.process import running
from annotator.errors import ExitCode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def client(server):
    access = server.access
    return Cytomine(access.host, access.public_key, access.private_key, verbose=50, configure_logging=False)


@pytest.fixture
def image(project, picture):
    return project.add_image(picture)


def square(x, y, side=20):
    return f"POLYGON (({x} {y}, {x + side} {y}, {x + side} {y + side}, {x} {y + side}, {x} {y}))"


def term_ids(project):
    return {term["name"]: term["id"] for term in project.server.store.find("term", ontology=project.ontology)}


# --- who asks ------------------------------------------------------------------------------------------------------


def test_unknown_key_and_wrong_signature(server):
    access = server.access
    path = f"{access.host}/api/user/current.json"
    signed = {"date": "now", "authorization": f"CYTOMINE {access.public_key}:wrong"}
    assert requests.get(path, headers=signed, allow_redirects=False, timeout=9).status_code == 302
    unknown = signed | {"authorization": "CYTOMINE nobody:wrong"}
    assert requests.get(path, headers=unknown, allow_redirects=False, timeout=9).status_code == 401
    assert requests.get(path, allow_redirects=False, timeout=9).status_code == 302


def test_the_query_is_signed_as_it_was_sent(client, project):
    found = client.get("project.json", {"odd": "a b&c=ü/,"})
    assert project.id in [item["id"] for item in found["collection"]]


def test_strangers_do_not_see_a_project(server, project, picture):
    stranger = seed.create_user(server.store, "stranger")
    Cytomine(server.access.host, stranger["publicKey"], stranger["privateKey"], verbose=50, configure_logging=False)
    number = project.add_image(picture)
    assert Project().fetch(project.id) is False
    assert ImageInstance().fetch(number) is False
    assert project.id not in [item.id for item in ProjectCollection().fetch()]


# --- jobs ----------------------------------------------------------------------------------------------------------


def test_a_job_run_from_a_shell(server, project):
    with CytomineJob.from_cli(project.human_arguments(threshold=0.25), configure_logging=False) as cytomine:
        assert cytomine.current_user.algo
        assert cytomine.parameters.threshold == 0.25
        number = cytomine.job.id
        assert server.store.get("job", number)["status"] == Job.RUNNING
        cytomine.job.update(progress=40, statusComment="On the way")
    job = Job().fetch(number)
    assert (job.status, job.statusComment) == (Job.TERMINATED, "Job successfully terminated")
    parameters = {row["name"]: row["value"] for row in job.jobParameters}
    assert parameters["threshold"] == "0.25"


def test_a_job_launched_from_the_page(server, project):
    launched = project.launch(threshold=0.5)
    assert "--gres" not in launched.arguments  # a server parameter
    assert "--cytomine_id_images" not in launched.arguments  # no value, so its place is empty
    with CytomineJob.from_cli(launched.arguments, configure_logging=False) as cytomine:
        assert cytomine.job.id == launched.job
        assert cytomine.parameters.threshold == 0.5
    masked = {row["name"]: row["value"] for row in Job().fetch(launched.job).jobParameters}
    assert set(masked["cytomine_private_key"]) == {"*"}


def test_a_put_replaces(client, project, server):
    job = Job(project.id, project.software).save()
    job.status, job.progress, job.statusComment = Job.RUNNING, 10, "x"
    job.update()
    client.put(f"job/{job.id}.json", json.dumps({"project": project.id, "software": project.software}))
    assert server.store.get("job", job.id)["status"] == 0
    assert client.put(f"job/{job.id}.json", json.dumps({"status": 2})) is False
    assert [item.id for item in JobCollection(project=str(project.id)).fetch()] == [job.id]


def test_descriptor_becomes_software(client, project):
    software = Software().fetch(project.software)
    assert "cytomine_host" not in [parameter["name"] for parameter in software.parameters]
    everything = SoftwareParameterCollection(filters={"software": project.software}, withSetByServer=True).fetch()
    first = everything[0]
    assert (first.name, first.index, first.required, first.valueKey) == ("cytomine_host", 100, True, "[CYTOMINE_HOST]")
    assert all(parameter.defaultParamValue != "" for parameter in everything)


def test_the_clients_own_way_to_register_an_app(client, project):
    software = read_descriptor(str(ROOT / "descriptor.json"))
    parameters = SoftwareParameterCollection(filters={"software": software.id}, withSetByServer=True).fetch()
    assert [parameter.name for parameter in parameters][:2] == ["cytomine_host", "cytomine_public_key"]
    assert len(parameters) == len(json.loads((ROOT / "descriptor.json").read_text())["inputs"])
    assert parameters[-1].defaultParamValue is None


def test_a_project_can_be_made_with_the_client(client):
    ontology = Ontology("New terms").save()
    made = Project("New project", ontology.id).save()
    assert Project().fetch(made.id).ontologyName == "New terms"


def test_a_launch_without_a_required_value_is_refused(server, project):
    server.store.add(
        "softwareparameter", software=project.software, name="must", type="String", index=9900, required=True,
        defaultParamValue=None, setByServer=False, serverParameter=False, valueKey="[MUST]", commandLineFlag="--must",
    )  # fmt: skip
    with pytest.raises(ValueError, match="Argument must is required !"):
        project.launch()


# --- images --------------------------------------------------------------------------------------------------------


def test_images_and_paging(client, project, picture):
    numbers = [project.add_image(picture) for _ in range(5)]
    images = ImageInstanceCollection(filters={"project": project.id}).fetch()
    assert [image.id for image in images] == numbers
    assert (images[0].width, images[0].height, images[0].instanceFilename) == (300, 200, "corners.png")
    page = client.get(f"project/{project.id}/imageinstance.json", {"max": 2, "offset": 2})
    assert [item["id"] for item in page["collection"]] == numbers[2:4]
    assert (page["size"], page["perPage"], page["totalPages"]) == (5, 2, 3)


@pytest.mark.parametrize(
    ("window", "colour", "size"),
    [
        ((0, 0, 40, 40), (255, 0, 0), (40, 40)),
        ((260, 0, 40, 40), (0, 255, 0), (40, 40)),
        ((0, 160, 40, 40), (0, 0, 255), (40, 40)),
        ((270, 170, 100, 100), (255, 255, 255), (30, 30)),  # cut at the border
    ],
)
def test_windows_are_in_the_top_left_frame(client, image, tmp_path, window, colour, size):
    path = tmp_path / "window.png"
    assert ImageInstance().fetch(image).window(*window, dest_pattern=str(path))
    found = Image.open(path).convert("RGB")
    assert found.size == size
    assert found.getpixel((size[0] // 2, size[1] // 2)) == colour


def test_thumb_and_download(client, image, picture, tmp_path):
    instance = ImageInstance().fetch(image)
    assert instance.dump(str(tmp_path / "thumb.png"), max_size=100)
    with Image.open(tmp_path / "thumb.png") as thumb:
        assert thumb.size == (100, 67)
    assert instance.download(str(tmp_path / "original.png"))
    assert (tmp_path / "original.png").read_bytes() == picture.read_bytes()


# --- annotations ---------------------------------------------------------------------------------------------------


def test_add_read_and_delete_as_a_person(client, project, image):
    terms = term_ids(project)
    annotation = Annotation(square(10, 20), image, [terms["Harps"]]).save()
    assert annotation.class_ == "be.cytomine.ontology.UserAnnotation"
    found = AnnotationCollection(project=project.id, showWKT=True, showTerm=True, showGIS=True).fetch()
    assert [item.id for item in found] == [annotation.id]
    assert found[0].term == [terms["Harps"]]
    assert found[0].area == 400
    assert wkt.loads(found[0].location).equals(wkt.loads(square(10, 20)))
    AnnotationTerm(annotation.id, terms["Person"]).save()
    assert set(Annotation().fetch(annotation.id).term) == {terms["Harps"], terms["Person"]}
    assert annotation.delete()
    assert len(AnnotationCollection(project=project.id).fetch()) == 0


def test_only_groups_that_were_asked_for_are_listed(client, project, image):
    Annotation(square(0, 0), image).save()
    bare = AnnotationCollection(project=project.id).fetch()[0]
    assert bare.location is None
    assert bare.term is None
    assert isinstance(bare.created, int)


@pytest.mark.parametrize("count", [1, 15, 30, 31])
def test_bulk_saving_from_several_threads(client, project, image, count):
    collection = AnnotationCollection()
    collection.extend([Annotation(square(i, i), image, id_project=project.id) for i in range(count)])
    assert collection.save()  # 15 at a time; at multiples of 15 one empty array is sent as well
    assert len(project.annotations()) == count


@pytest.mark.parametrize(
    ("locations", "status", "message", "stored"),
    [
        ([square(0, 0), square(9, 9)], 200, r"userannotations \d+,\d+ added", 2),
        ([], 200, "added", 0),
        ([square(0, 0), "POLYGON ((0 0, 9 9, 9 0, 0 9, 0 0))"], 206, r"Only part of the entries", 1),
        ([square(999, 999), "nonsense", None], 400, "No entry saved", 0),
    ],
)
def test_answers_to_bulk_saving(client, project, image, locations, status, message, stored):
    body = [{"location": location, "image": image, "project": project.id} for location in locations]
    answer = client._post("annotation.json", json.dumps(body))
    assert answer.status_code == status
    assert re.search(message, answer.json()["message"])
    assert len(project.annotations()) == stored


def test_locations_are_cut_at_the_image_and_terms_of_other_ontologies_refused(client, project, image, server):
    cut = Annotation(square(290, 190), image).save()
    assert wkt.loads(cut.location).bounds == (290, 190, 300, 200)
    foreign = seed.create_project(server.store, "Other", server.user, ["Lute"])
    lute = server.store.find("term", ontology=foreign["ontology"])[0]["id"]
    assert Annotation(square(0, 0), image, [lute]).save() is False
    assert len(project.annotations()) == 1


def test_long_outlines_are_simplified(client, image):
    circle = wkt.loads("POINT (150 100)").buffer(90, quad_segs=200)
    stored = Annotation(circle.wkt, image).save()
    assert len(wkt.loads(stored.location).exterior.coords) <= 200
    assert stored.geometryCompression > 0


@pytest.fixture
def layers(project, image, server):
    """One annotation by a person, two by a job (one of them validated)."""
    terms = term_ids(project)
    person = server.store.find("user", algo=False)[0]
    job = seed.create_job(server.store, project.id, project.software, person["id"])
    access = server.access
    Cytomine(access.host, access.public_key, access.private_key, verbose=50, configure_logging=False)
    drawn = Annotation(square(0, 0), image, [terms["Person"]]).save()
    user_job = server.store.get("user", job["userJob"])
    as_job = Cytomine(access.host, user_job["publicKey"], user_job["privateKey"], verbose=50, configure_logging=False)
    found = [Annotation(square(40 * i, 50), image, [terms["Harps"]]).save() for i in (1, 2)]
    assert found[0].class_ == "be.cytomine.ontology.AlgoAnnotation"
    assert drawn.delete() is False  # it is the person's
    assert as_job.post(f"annotation/{found[1].id}/term/{terms['Person']}.json", '{"rate": 2}') is False
    assert as_job.post(f"annotation/{found[1].id}/term/{terms['Person']}.json", '{"rate": 0.75}')
    client = Cytomine(access.host, access.public_key, access.private_key, verbose=50, configure_logging=False)
    assert client.post(f"annotation/{found[0].id}/review.json", "{}") is False  # not in review mode yet
    assert client.post(f"imageinstance/{image}/review.json", "{}")
    reviewed = client.post(f"annotation/{found[0].id}/review.json", json.dumps({"terms": [terms["Person"]]}))
    names = {
        drawn.id: "drawn",
        found[0].id: "found",
        found[1].id: "found too",
        reviewed["reviewedannotation"]["id"]: "copy",
    }
    return client, names, {"job": job["id"], "user": job["userJob"]} | {name: str(n) for name, n in terms.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["drawn"]),
        ({"includeAlgo": True}, ["found too", "found", "drawn"]),
        ({"includeAlgo": True, "notReviewedOnly": True}, ["found too", "drawn"]),
        ({"reviewed": True}, ["copy"]),
        ({"user": "{user}"}, ["found too", "found"]),
        ({"job": "{job}"}, []),  # only the ULiege line switches layers here
        ({"includeAlgo": True, "terms": "{Harps}"}, ["found too", "found"]),
        ({"includeAlgo": True, "term": "{Person}"}, ["found too", "drawn"]),
        ({"includeAlgo": True, "term": "{Harps},{Person}"}, ["found too", "found", "drawn"]),  # no number: no filter
        ({"includeAlgo": True, "noTerm": True}, []),
        ({"includeAlgo": True, "multipleTerm": True}, ["found too"]),
        ({"includeAlgo": True, "bbox": "70,40,90,60"}, ["found too"]),
    ],
)
def test_layers_and_filters(project, layers, query, expected):
    client, names, values = layers
    filled = {key: value.format(**values) if isinstance(value, str) else value for key, value in query.items()}
    rows = client.get("annotation.json", {"project": project.id} | filled)["collection"]
    assert [names[row["id"]] for row in rows] == expected


def test_reviewed_jobs_are_not_emptied(project, layers):
    client, _, values = layers
    assert client.delete(f"job/{values['job']}/alldata.json") is False
    assert client.get(f"job/{values['job']}/alldata.json")["reviewed"] == 1


def test_crops_follow_the_flip_and_the_cores_swap(project, layers, server, tmp_path):
    client, names, _ = layers
    crop = tmp_path / "crop.png"
    drawn = next(Annotation().fetch(number) for number, name in names.items() if name == "drawn")
    assert drawn.dump(str(crop))  # the square at the bottom-left corner is the blue one
    assert Image.open(crop).convert("RGB").getpixel((5, 5)) == (0, 0, 255)
    number = next(number for number, name in names.items() if name == "found")
    client.download_file(f"algoannotation/{number}/mask.png", str(tmp_path / "mask.png"))
    assert Image.open(tmp_path / "mask.png").mode == "RGBA"


def test_masks_keep_holes(picture):
    ring = wkt.loads("POLYGON ((10 10, 90 10, 90 90, 10 90, 10 10), (30 30, 70 30, 70 70, 30 70, 30 30))")
    mask = pixels.crop(picture, ring, "mask", None)
    assert mask.size == (80, 80)
    assert mask.getpixel((5, 5)) == (255, 255, 255)
    assert mask.getpixel((40, 40)) == (0, 0, 0)


def test_keys_are_readable_by_their_owner_only_and_relative_folders_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with running(Path("data")) as access:
        assert requests.get(f"{access.host}/server/ping", timeout=9).json()["alive"]
    for name in ("cytomine.sqlite", "access.json"):
        assert (tmp_path / "data" / name).stat().st_mode & 0o077 == 0, name


def test_files_are_sent_from_a_relative_folder_too(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    shutil.copy(picture, tmp_path / "pictures")
    command = [sys.executable, "-m", "annotator", "serve", "--data", "data", "--images", "pictures"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        printed = "".join(server.stdout.readline() for _ in range(6))
        said = dict(re.findall(r"--cytomine_(\w+) (\S+)", printed))
        Cytomine(said["host"], said["public_key"], said["private_key"], verbose=50, configure_logging=False)
        job = Job(int(said["id_project"]), int(said["id_software"])).save()
        JobData(job.id, "report", picture.name).save().upload(str(picture))
        (found,) = JobDataCollection(filters={"job": job.id}).fetch()
        assert found.download(str(tmp_path / "back.png"))
        assert (tmp_path / "back.png").read_bytes() == picture.read_bytes()
    finally:
        server.terminate()
        server.wait(9)
        server.stdout.close()


# --- terms, properties, files --------------------------------------------------------------------------------------


def test_terms_and_ontology(client, project):
    lute = Term("Lute (3394)", project.ontology, "#ff0000").save()
    assert Term("Lute (3394)", project.ontology, "#00ff00").save() is False
    kind = term_ids(project)["Harps"]
    client.post("relation/parent/term.json", json.dumps({"term1": kind, "term2": lute.id}))
    everything = TermCollection(filters={"project": project.id}).fetch()
    leaves = TermCollection(filters={"ontology": project.ontology}).fetch()
    assert {term.name for term in everything} - {term.name for term in leaves} == {"Harps"}
    tree = Ontology().fetch(project.ontology)
    assert tree.children[-1]["children"][0]["name"] == "Lute (3394)"


def test_properties(client, project, image):
    annotation = Annotation(square(0, 0), image).save()
    Property(annotation, "score", 0.5).save()
    assert Property(annotation, "score", 0.5).save() is False
    found = PropertyCollection(annotation).fetch().as_dict()
    assert found["score"].value == "0.5"
    assert Property(annotation, "score", 0.6).save()  # the core refuses no other value of the same key
    assert [row.value for row in PropertyCollection(annotation).fetch()] == ["0.5", "0.6"]
    assert client.get(f"domain/{annotation.class_}/{annotation.id}/key/score/property.json")["value"] == "0.5"
    assert client.get(f"domain/{annotation.class_}/{annotation.id}/key/none/property.json") is False


def test_a_tag_is_put_on_by_what_the_body_says(client, project, image):
    tag = Tag("odd").save()
    path = f"domain/be.cytomine.image.ImageInstance/{image}/tag_domain_association.json"
    assert client._post(path, json.dumps({"tag": tag.id})).status_code == 500
    assert TagDomainAssociation(ImageInstance().fetch(image), tag.id).save()
    assert TagDomainAssociation(ImageInstance().fetch(image), tag.id).save() is False  # it is there


def test_the_terms_of_an_annotation_are_links(client, project, image):
    terms = term_ids(project)
    annotation = Annotation(square(0, 0), image, [terms["Harps"]]).save()
    (row,) = client.get(f"annotation/{annotation.id}/term.json")["collection"]
    assert row["term"] == terms["Harps"] != row["id"]


def test_jobs_make_no_tags(project, server):
    with CytomineJob.from_cli(project.human_arguments(), configure_logging=False):
        assert Tag("made by a job").save() is False
    assert server.store.find("tag", name="made by a job") == []


def test_deleted_terms_are_kept_unlisted(client, project, image):
    terms = term_ids(project)
    assert Term().delete(terms["Harps"])
    assert terms["Harps"] not in [row["id"] for row in client.get(f"project/{project.id}/term.json")["collection"]]
    assert Term("Harps", project.ontology, "#123456").save() is False
    Annotation(square(0, 0), image, [terms["Person"]]).save()
    assert Term().delete(terms["Person"]) is False  # it is in use


def test_a_project_without_ontology(client, project, server):
    server.store.update("project", project.id, ontology=None)
    assert Project().fetch(project.id).ontology is None
    assert client.get(f"project/{project.id}/term.json") is False


def test_attached_files_keep_only_the_last_part_of_their_name(client, project, tmp_path):
    job = Job(project.id, project.software).save()
    hostile = tmp_path / "evil name.zip"  # the client sends its whole path
    hostile.write_bytes(b"model" * 1000)
    AttachedFile(job, filename=str(hostile)).upload()
    files = AttachedFileCollection(job).fetch()
    assert [file.filename for file in files] == ["evil name.zip"]
    target = tmp_path / "back.zip"
    assert files[0].download(str(target))
    assert target.read_bytes() == hostile.read_bytes()


def test_job_data(client, project, tmp_path):
    job = Job(project.id, project.software).save()
    path = tmp_path / "report.html"
    path.write_text("<p>hello</p>")
    JobData(job.id, "report", "report.html").save().upload(str(path))
    found = JobDataCollection(filters={"job": job.id}).fetch()[0]
    assert (found.key, found.filename, found.size) == ("report", "report.html", 12)
    assert found.download(str(tmp_path / "back.html"))
    assert (tmp_path / "back.html").read_text() == "<p>hello</p>"


def test_objects_survive_many_writers(server, project):
    from concurrent.futures import ThreadPoolExecutor

    job = seed.create_job(server.store, project.id, project.software, server.user["id"])
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda i: server.store.update("job", job["id"], **{f"field{i}": i}), range(64)))
        list(executor.map(lambda i: server.store.add("thing", number=i), range(64)))
    assert all(server.store.get("job", job["id"])[f"field{i}"] == i for i in range(64))
    assert len(server.store.find("thing")) == 64
    assert np.unique([item["id"] for item in server.store.find("thing")]).size == 64


def test_a_port_that_is_taken_is_told_as_such(server, tmp_path, capsys):
    port = server.access.host.rpartition(":")[2]
    assert main(["serve", "--data", str(tmp_path), "--port", port]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        f"Port {port} cannot be had: [Errno 98] Address already in use. Name another --port.\n"
    )
