"""Training jobs over real HTTP: a curator looks through what a job found, another job learns from it."""

import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw

from annotator import job as job_module
from annotator.detection import SCAN_SIDE
from annotator.embedded import seed
from annotator.errors import ExitCode
from annotator.models.backbones import BACKBONES
from annotator.parameters import BACKBONES as NAMES
from annotator.parameters import LONGEST_SIDE
from annotator.platform import promotion
from annotator.platform.connection import Connection
from benchmarks.curator import Instrument, look_through

SIDE = 260


def draw(path, kind, random):
    """A soft ground, with a red lens or a striped bar on it, or with nothing; returns the box of what is there."""
    ground = random.integers(70, 150, (4, 4, 3), np.uint8)
    image = Image.fromarray(ground).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(image)
    x, y = (int(value) for value in random.integers(20, 100, 2))
    box = (x, y, x + 130, y + 130)
    if kind == "lens":
        canvas.ellipse(box, fill="#c01818", outline="#ffdd44", width=10)
    elif kind == "bars":
        for step in range(0, 130, 26):
            canvas.rectangle((x + step, y, x + step + 12, y + 130), fill="#1030d0")
    image.save(path)
    return box


@pytest.fixture
def collection(project, tmp_path):
    """Twenty-four images of two things that no model knows, some of nothing; with the truth."""
    random = np.random.default_rng(5)
    lens = seed.add_term(project.server.store, project.ontology, "Lens of Doom")["id"]
    images = {}
    for number in range(24):
        kind, term = (("lens", lens), ("bars", _term(project, "gitaren")), ("nothing", None))[number % 3]
        box = draw(tmp_path / f"{number}.png", kind, random)
        image = project.add_image(tmp_path / f"{number}.png")
        images[image] = (SIDE, [Instrument(term, shapely.box(*box))] if term else [])
    return project, lens, images


def annotate(project, **values):
    launched = project.launch(**values)
    assert job_module.run(launched.arguments) is ExitCode.OK
    return project.server.store.get("job", launched.job)


def test_a_project_learns_new_things_promotes_them_and_finds_them(collection):
    project, lens, images = collection
    server = project.server
    first = annotate(project)
    said = look_through(server.access, project.id, first["userJob"], images)
    assert said["drawn"] + said["corrected"] + said["accepted"] == 16

    trained = annotate(project, mode="train", cytomine_id_terms=f"{lens},{_term(project, 'gitaren')}")
    assert trained["statusComment"].startswith("Promoted. The new model is better on "), trained["statusComment"]
    uses = [row["value"] for row in server.store.find("property", ownerKind="imageinstance", key="instrument_use")]
    assert sorted(set(uses)) == ["test", "training"]
    assert uses.count("test") == 9
    (page,) = server.store.find("jobdata", job=trained["id"])
    html = server.store.file(page["stored"]).read_text()
    assert "Lens of Doom" in html
    assert html.count("data:image/png") >= 2

    connection = Connection(server.access.host, server.access.public_key, server.access.private_key)
    assert promotion.promoted_job(connection, project.id) == trained["id"]
    second = annotate(project)
    found = [item for item in project.annotations() if item["user"] == second["userJob"]]
    terms = {row["annotation"]: row["term"] for row in server.store.find("annotationterm")}
    lenses = [item for item in found if terms.get(item["id"]) == lens]
    right = {image for image, (_, truth) in images.items() if truth and truth[0].term == lens}
    assert len({item["image"] for item in lenses} & right) >= 7
    assert len({item["image"] for item in lenses} - right) <= 1

    # Back to the built-in model, by a person's word.
    back = annotate(project, mode="promote")
    assert "from now on this project uses the built-in model" in back["statusComment"].lower()
    assert promotion.promoted_job(connection, project.id) is None
    again = annotate(project, mode="promote", cytomine_id_job=trained["id"])
    assert f"training job {trained['id']}" in again["statusComment"]
    assert promotion.promoted_job(connection, project.id) == trained["id"]


def _term(project, name):
    (row,) = project.server.store.find("term", ontology=project.ontology, name=name)
    return row["id"]


def test_backbones_of_the_parameters_are_those_that_there_are():
    assert set(NAMES) == set(BACKBONES)
    assert LONGEST_SIDE == SCAN_SIDE
