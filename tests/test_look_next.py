"""Which images to look at next: the order, and what a job says about it in Cytomine."""

import re

import numpy as np
import pytest
from cytomine import Cytomine
from cytomine.models import ImageInstanceCollection
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator import job as job_module
from annotator import look_next
from annotator.detection import examination
from annotator.detection.windows import Level, Windows
from annotator.embedded import seed
from annotator.errors import ExitCode
from annotator.look_next import ranking
from annotator.platform.connection import Connection
from annotator.platform.images import ProjectImage
from annotator.platform.tags import LOOK_NEXT, move


def plain_ranking(doubts, appearances, known, most):
    """The same, one picture at a time."""
    every = [*appearances, *known]
    mean = sum(every) / len(every)

    def cosine(one, other):
        one, other = one - mean, other - mean
        length = np.sqrt((one @ one) * (other @ other))
        return one @ other / length if length else 0.0

    order, looked_at = [], list(known)
    while len(order) < most:
        worth = {}
        for i in range(len(doubts)):
            nearest = max((cosine(appearances[i], other) for other in looked_at), default=-1.0)
            if i not in order:
                worth[i] = doubts[i] * (1 - nearest)
        best = max(worth, key=worth.get, default=None)
        if best is None or worth[best] <= 1e-9:
            return order
        order.append(best)
        looked_at.append(appearances[best])
    return order


@given(st.integers(1, 8), st.integers(0, 3), st.integers(1, 9), st.integers(0, 10**6))
def test_the_order_is_that_of_a_plain_version(count, looked_at, most, number):
    random = np.random.default_rng(number)
    doubts = random.random(count) * (random.random(count) < 0.8)
    appearances, known = random.normal(size=(count, 4)), random.normal(size=(looked_at, 4))
    expected = plain_ranking(doubts, appearances, known, most)
    found = ranking(doubts, appearances, known, most)
    assert found[: len(expected)] == expected
    assert len(found) == len(set(found)) <= min(most, np.count_nonzero(doubts))


def test_of_two_views_of_one_painting_the_second_comes_late():
    appearances = np.array([[9.0, 0, 0], [9, 0.1, 0], [0, 9, 0], [0, 0, 9]])
    assert ranking(np.array([4.0, 3.9, 2, 1]), appearances, np.zeros((0, 3)), 4) == [0, 2, 3, 1]
    # And what is like pictures that people have looked at comes last altogether.
    assert ranking(np.array([4.0, 3.9, 2, 1]), appearances, appearances[:1] + 0.01, 2) == [2, 3]


def test_pictures_without_doubt_are_not_named():
    assert ranking(np.array([0.0, 1, 0]), np.eye(3), np.zeros((0, 3)), 20) == [1]
    assert ranking(np.zeros(3), np.eye(3), np.zeros((0, 3)), 20) == []


def test_doubt_is_the_number_of_mistakes_to_be_expected():
    places = np.array([[0, 0, 0.2, 0.2], [0.01, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9], [0.1, 0.6, 0.3, 0.8]])
    probabilities = np.array([[0.6, 0.3], [0.5, 0.3], [0.1, 0.1], [0.01, 0.005]])
    windows = Windows(places, probabilities, np.zeros(4, int), np.zeros((4, 4), int))
    # The first place is wrong with 0.4; the second window shows the same; "nothing" at the third is wrong with 0.2; and
    # the fourth nobody would notice.
    assert examination.doubt(windows) == pytest.approx(0.4 + 0.2)
    none = Windows(places[:0], probabilities[:0], np.zeros(0, int), np.zeros((0, 4), int))
    assert examination.doubt(none) == 0


def test_padding_is_no_part_of_what_a_picture_is_like():
    logits = np.ones((7, 7, 3), np.float32)
    logits[5:] = 100
    larger = Level(np.full((14, 14, 3), 9, np.float32), 448, 300)
    assert examination.appearance([larger, Level(logits, 224, 150)]).tolist() == [1, 1, 1]


def test_an_examination_holds_what_detection_finds(builtin_model, gallery):
    from annotator.detection import detect, examine

    picture = np.asarray(Image.open(gallery / "duo_in_oil.png").convert("RGB").resize((300, 300)))
    found = examine(builtin_model, picture, 0.3, 100)
    plain = detect(builtin_model, picture, 0.3, 100)
    assert np.array_equal(found.detections.boxes, plain.boxes)
    assert np.array_equal(found.detections.scores, plain.scores)
    assert found.doubt > 0
    assert found.appearance.shape == (len(builtin_model.configuration.class_labels),)


@pytest.fixture
def tag(server):
    """The tag, made by a person, for jobs may not; in people's own spelling."""
    return server.store.add("tag", name="Look next", user=server.user["id"])["id"]


@pytest.fixture(autouse=True)
def _no_tags(server):
    yield
    for row in server.store.find("tag"):
        server.store.remove("tag", row["id"])


@pytest.fixture
def wall(project, small, loaded_once):
    names = ("harp_in_oil.png", "violin_in_oil.png", "guitar_fresco.png", "piano_fresco.png")
    return project, [project.add_image(small / name) for name in names]


def run(project, **values):
    launched = project.launch(threshold=0.2, **values)
    assert job_module.run(launched.arguments) is ExitCode.OK
    return project.server.store.get("job", launched.job)


def tagged(project):
    """The images that Cytomine's list shows when it is filtered by the tag, asked for with the plain client."""
    access = project.server.access
    (tag,) = (row for row in project.server.store.find("tag") if row["name"].lower() == LOOK_NEXT)
    with Cytomine(access.host, access.public_key, access.private_key, verbose=50, configure_logging=False):
        found = ImageInstanceCollection(tags=tag["id"])
        found = found.fetch_with_filter("project", project.id)
    return {image.id for image in found}


def test_a_job_tags_what_to_look_at_next_and_the_following_one_moves_the_tags(wall, tag):
    project, images = wall
    store = project.server.store
    first = run(project)
    assert re.search(r" images to look at next: look_next\.html\.$", first["statusComment"])
    assert 2 <= len(tagged(project)) <= 4
    page = {row["filename"]: store.file(row["stored"]).read_text() for row in store.find("jobdata", job=first["id"])}
    assert "mistakes expected" in page["look_next.html"]
    assert "In Cytomine they carry the tag" in page["look_next.html"]
    assert page["look_next.html"].count("data:image/jpeg") == len(tagged(project))

    seen = max(tagged(project))
    store.update("imageinstance", seen, reviewed=True, reviewUser=project.server.user["id"])
    run(project)
    assert tagged(project)
    assert seen not in tagged(project)
    run(project)  # and what is tagged already stays so once
    rows = [row for row in store.find("tagdomainassociation") if row["domainIdent"] in images]
    assert len(rows) == len(tagged(project))


def test_one_image_leaves_nothing_to_choose(wall):
    project, images = wall
    assert "look at next" not in run(project, cytomine_id_images=images[0])["statusComment"]


def test_where_no_person_has_made_the_tag_the_page_says_how(wall):
    project, _ = wall
    store = project.server.store
    job = run(project)
    (row,) = store.find("jobdata", job=job["id"], filename="look_next.html")
    page = " ".join(store.file(row["stored"]).read_text().split())
    assert "In Cytomine not all of them carry the tag" in page
    assert "Only people can make tags: put &#34;look next&#34; on any image once, and later jobs use it." in page
    assert LOOK_NEXT not in [row["name"] for row in store.find("tag")]


def test_the_page_counts_also_images_that_are_not_remembered(wall, small, monkeypatch):
    project, images = wall
    monkeypatch.setattr("annotator.look_next.KEPT", 2)
    images += [project.add_image(small / name) for name in ("empty_room.png", "duo_in_oil.png")]
    project.server.store.update("imageinstance", images[0], reviewed=True, reviewUser=project.server.user["id"])
    job = run(project)
    (row,) = project.server.store.find("jobdata", job=job["id"], key="look at these next")
    page = " ".join(project.server.store.file(row["stored"]).read_text().split())
    assert " of 5 images that nobody has looked through" in page


def test_without_the_right_to_tag_the_page_still_says_it(wall, tag, no_pauses):
    project, _ = wall
    project.server.fail({"path": "tag", "method": "POST", "kind": "status", "value": 403, "times": 9})
    job = run(project)
    assert "to look at next: look_next.html." in job["statusComment"]
    assert "look_next.html" in [row["filename"] for row in project.server.store.find("jobdata", job=job["id"])]


def test_where_tagging_ends_half_way_the_page_does_not_say_that_none_is_tagged(wall, tag, no_pauses):
    project, _ = wall
    project.server.fail({"path": "tag", "method": "POST", "kind": "status", "value": 403, "after": 1, "times": 9})
    job = run(project)
    assert len(tagged(project)) == 1
    (row,) = project.server.store.find("jobdata", job=job["id"], filename="look_next.html")
    page = " ".join(project.server.store.file(row["stored"]).read_text().split())
    assert "In Cytomine not all of them carry the tag <em>look next</em>." in page


def test_tags_are_moved_from_the_job_that_tagged_last_also_where_an_image_is_gone(project, picture, tag):
    first, second, third = (project.add_image(picture) for _ in range(3))
    older, newer, last = (project.launch().job for _ in range(3))
    access = project.server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    move(connection, newer, project.id, [second])
    move(connection, older, project.id, [first, second])  # it ends after the newer one
    project.server.store.remove("imageinstance", second)
    move(connection, last, project.id, [third])
    assert tagged(project) == {third}


def test_tags_are_found_behind_many_jobs_that_tagged_nothing(project, picture, tag):
    first, second = (project.add_image(picture) for _ in range(2))
    access = project.server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    move(connection, project.launch().job, project.id, [first])
    for _ in range(20):
        project.launch()
    move(connection, project.launch().job, project.id, [second])
    assert tagged(project) == {second}


def test_tags_of_people_are_left_alone(wall, tag):
    project, images = wall
    store = project.server.store
    run(project)
    mine = store.add("tag", name="for the catalogue", user=project.server.user["id"])
    kept = store.add(
        "tagdomainassociation", tag=mine["id"], tagName=mine["name"], ownerKind="imageinstance", domainIdent=images[0]
    )
    run(project)
    assert store.get("tagdomainassociation", kept["id"])


def test_every_name_on_the_page_is_text(project, small, tmp_path, loaded_once):
    for number in range(2):
        hostile = tmp_path / f"<script>{number}.png"
        hostile.write_bytes((small / "harp_in_oil.png").read_bytes())
        seed.add_image(project.server.store, project.id, hostile)
    job = run(project)
    rows = project.server.store.find("jobdata", job=job["id"])
    (page,) = [
        project.server.store.file(row["stored"]).read_text() for row in rows if row["filename"] == "look_next.html"
    ]
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_long_reasons_of_failed_images_do_not_push_the_advice_off_the_comment(wall, no_pauses):
    project, images = wall
    rule = {"method": "GET", "kind": "status", "value": 404, "times": 99}
    project.server.fail(*({**rule, "path": f"imageinstance/{image}/"} for image in images[2:]))
    comment = run(project)["statusComment"]
    assert len(comment) == 255
    assert re.search(r" 2 images to look at next: look_next\.html\. 2 images failed: ", comment)


def test_what_is_kept_of_many_images_is_what_there_is_most_doubt_about():
    image = ProjectImage(1, "a", 8, 8, None)
    doubts = np.random.default_rng(0).permutation(look_next.KEPT + 5)
    kept = look_next.most_doubtful([look_next.Looked(image, float(doubt), np.zeros(1), b"") for doubt in doubts])
    assert [one.doubt for one in kept] == list(range(look_next.KEPT + 4, 4, -1))


def test_tags_of_people_neither_go_nor_stand_in_the_way(project, picture, tag):
    first, second = (project.add_image(picture) for _ in range(2))
    store = project.server.store
    mine = store.add("tag", name="for the catalogue", user=project.server.user["id"])
    for image in (first, second):
        own = {"ownerKind": "imageinstance", "domainIdent": image}
        store.add("tagdomainassociation", tag=mine["id"], tagName=mine["name"], **own)
    access = project.server.access
    connection = Connection(access.host, access.public_key, access.private_key)
    for image in (first, second):
        move(connection, project.launch().job, project.id, [image])
        assert tagged(project) == {image}
    kept = [row["domainIdent"] for row in store.find("tagdomainassociation", tag=mine["id"])]
    assert sorted(kept) == sorted([first, second])
