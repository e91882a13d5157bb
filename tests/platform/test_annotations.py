from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import box

from annotator.embedded import annotations as stored_annotations
from annotator.embedded import seed
from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import annotations, geometry
from annotator.platform.annotations import NewAnnotation, fetch_annotations, upload
from annotator.platform.connection import Connection
from annotator.platform.images import choose_images
from annotator.platform.terms import find_terms
from annotator.vocabulary import by_mimo_id

VIOLIN, GUITAR, HARP, LUTE = (by_mimo_id()[number] for number in (3573, 3237, 3285, 3394))


@pytest.fixture
def connection(server):
    return Connection(server.access.host, server.access.public_key, server.access.private_key)


@pytest.fixture
def as_job(server, project, picture):
    """The image, and a connection with the keys of a job."""
    project.add_image(picture)
    arguments = project.launch().arguments
    public, private = (arguments[arguments.index(f"--cytomine_{kind}_key") + 1] for kind in ("public", "private"))
    connection = Connection(server.access.host, public, private)
    return connection, choose_images(connection, project.id, ())[0]


def made(count, terms=()):
    return [
        NewAnnotation(
            geometry.to_location(box(i % 250, i % 150, i % 250 + 20, i % 150 + 10 + i // 250), 300, 200),
            terms,
            {"score": f"0.{i:04d}", "model": "test 1"},
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 100, 230])
def test_all_are_stored_with_terms_and_properties(as_job, project, count):
    connection, image = as_job
    terms = find_terms(connection, project.id, [VIOLIN], [], create=False)
    assert upload(connection, image, connection.user["id"], made(count, (terms[3573],))) == count
    found = fetch_annotations(connection, connection.user["id"], [image])
    assert len(found) == count
    assert {item.properties["score"] for item in found} == {f"0.{i:04d}" for i in range(count)}
    assert all(item.terms == (terms[3573],) for item in found)


def test_what_is_read_back_is_where_it_was(as_job):
    connection, image = as_job
    upload(
        connection,
        image,
        connection.user["id"],
        [NewAnnotation(geometry.to_location(box(10, 20, 40, 30), 300, 200), ())],
    )
    assert fetch_annotations(connection, connection.user["id"], [image])[0].polygon.bounds == (10, 20, 40, 30)


@pytest.mark.parametrize(
    "rules",
    [
        [{"kind": "partial"}],
        [{"kind": "lost_answer"}],
        [{"kind": "status", "value": 500}],
        [{"kind": "close"}],
        [{"kind": "html"}],
        [{"kind": "truncate"}],
        [{"kind": "partial"}, {"kind": "lost_answer"}],
        [{"kind": "twice"}],
        [{"kind": "too_many", "value": 0}, {"kind": "partial"}],
        [{"kind": "stumble"}],
        [{"kind": "partial"}, {"kind": "stumble"}, {"kind": "partial"}],
    ],
    ids=lambda rules: "+".join(rule["kind"] for rule in rules),
)
def test_nothing_is_lost_and_nothing_doubled(as_job, project, server, rules, no_pauses):
    connection, image = as_job
    wanted = [*made(20), made(20)[3]]  # two that are equal stay two
    server.fail(*({"path": "annotation.json", "method": "POST"} | rule for rule in rules))
    upload(connection, image, connection.user["id"], wanted)
    assert sorted(item["location"] for item in project.annotations()) == sorted(new.location for new in wanted)


@pytest.mark.parametrize("first", [True, False])
def test_names_with_quotes_are_stored_as_they_are(as_job, server, no_pauses, first):
    """The core cannot take them with an annotation, for it puts them into JSON as they are."""
    connection, image = as_job
    wanted = [replace(one, properties={"instrument": "Drum", "score": str(i)}) for i, one in enumerate(made(4))]
    odd = [0, 3] if first else [2]
    for i in odd:
        wanted[i] = replace(wanted[i], properties={"instrument": 'Drum, 12" \\ "snare"', "score": str(i)})
    assert upload(connection, image, connection.user["id"], wanted) == 4
    found = fetch_annotations(connection, connection.user["id"], [image])
    assert sorted((item.properties for item in found), key=lambda own: own["score"]) == [
        one.properties for one in wanted
    ]


with_troubles = pytest.mark.parametrize(
    "troubles",
    [[], ["lost_answer", "close"], ["close", "lost_answer", "status"]],
    ids=lambda troubles: "+".join(troubles) or "fine",
)


@with_troubles
def test_servers_that_drop_properties_get_them_one_by_one(as_job, server, no_pauses, troubles):
    connection, image = as_job
    server.fail(
        {"path": "annotation.json", "method": "POST", "kind": "no_properties"},
        *({"path": "property.json", "method": "POST", "kind": kind, "value": 503} for kind in troubles),
    )
    upload(connection, image, connection.user["id"], made(3))
    found = fetch_annotations(connection, connection.user["id"], [image])
    assert {item.id: item.properties for item in found} == {
        item.id: {"score": f"0.{i:04d}", "model": "test 1"} for i, item in enumerate(sorted(found, key=lambda a: a.id))
    }
    assert len(found) == 3
    rows = server.store.find("property", ownerKind="annotation", key="score")
    assert len([row for row in rows if row["domainIdent"] in {item.id for item in found}]) == 3


@with_troubles
def test_an_annotation_whose_term_got_lost_gets_it(as_job, project, server, no_pauses, troubles):
    connection, image = as_job
    (term, *_) = server.store.find("term", ontology=project.ontology)
    server.fail(
        {"path": "annotation.json", "method": "POST", "kind": "no_terms"},
        *({"path": "/term/", "method": "POST", "kind": kind, "value": 503} for kind in troubles),
    )
    upload(connection, image, connection.user["id"], made(3, (term["id"],)))
    found = fetch_annotations(connection, connection.user["id"], [image])
    assert [item.terms for item in found] == [(term["id"],)] * 3
    rows = server.store.find("annotationterm")
    assert len([row for row in rows if row["annotation"] in {item.id for item in found}]) == 3


def test_a_term_that_cannot_be_stored_is_told(as_job, project, server, no_pauses):
    connection, image = as_job
    (term, *_) = server.store.find("term", ontology=project.ontology)
    server.fail(
        {"path": "annotation.json", "method": "POST", "kind": "no_terms"},
        {"path": "/term/", "method": "POST", "kind": "status", "value": 500, "times": 9},
    )
    with pytest.raises(AnnotatorError, match=r"stays without its term") as caught:
        upload(connection, image, connection.user["id"], made(1, (term["id"],)))
    assert caught.value.code is ExitCode.UPLOAD


def test_what_the_server_stumbles_over_each_time_is_told(as_job, project, server, no_pauses):
    connection, image = as_job
    server.fail({"path": "annotation.json", "method": "POST", "kind": "stumble", "times": 9})
    with pytest.raises(AnnotatorError, match=r"3 of 3 annotations were not stored: No entry saved") as caught:
        upload(connection, image, connection.user["id"], made(3))
    assert caught.value.code is ExitCode.UPLOAD


def test_what_cannot_be_stored_is_counted(as_job, project, no_pauses):
    connection, image = as_job
    wrong = NewAnnotation(made(1)[0].location, (999_999,))
    with pytest.raises(
        AnnotatorError, match=r"corners\.png: 1 of 4 annotations were not stored: Term 999999"
    ) as caught:
        upload(connection, image, connection.user["id"], [*made(3), wrong])
    assert caught.value.code is ExitCode.BAD_IMAGE  # another image may have none like it
    assert len(project.annotations()) == 3


@given(st.lists(st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)), min_size=4, max_size=4), st.randoms())
def test_the_same_detections_made_on_another_machine_are_recognised(shifts, order):
    """Outlines that differ by less than a pixel, in another order, one of them missing, and a stranger."""
    outlines = [box(40 * i, 20, 40 * i + 30, 60) for i in range(4)]
    wanted = [NewAnnotation(geometry.to_location(outline, 300, 200), ()) for outline in outlines]
    there = [translate(outline, *shift) for outline, shift in zip(outlines, shifts, strict=True)][:3]
    there.append(box(10, 20, 50, 60))  # between two of them
    positions = list(range(4))
    order.shuffle(positions)
    stored = [{"location": geometry.to_location(there[position], 300, 200)} for position in positions]
    pairs = annotations._same(wanted, stored)
    assert {(i, positions[j]) for i, j in pairs} == {(0, 0), (1, 1), (2, 2)}


def test_overlaps_are_those_of_shapely_one_by_one(random):
    shapes = [
        [shapely.Point(*random.uniform(0, 60, 2)).buffer(random.uniform(5, 30)) for _ in range(count)]
        for count in (7, 5)
    ]
    bow_tie = shapely.Polygon([(0, 0), (60, 60), (60, 0), (0, 60)])
    shapes[1].append(bow_tie)
    expected = [
        [one.intersection(other.buffer(0)).area / one.union(other.buffer(0)).area for other in shapes[1]]
        for one in shapes[0]
    ]
    texts = [[shape.wkt for shape in group] for group in shapes]
    assert annotations._overlaps(*texts)[:, :-1] == pytest.approx(np.array(expected)[:, :-1])
    assert annotations._overlaps(*texts)[:, -1].max() > 0  # what crosses itself is mended, not left out
    assert annotations._overlaps(texts[0], []).shape == (7, 0)
    assert annotations._overlaps([], []).shape == (0, 0)


def test_what_a_person_validated_is_not_deleted_as_a_double(as_job, project, server):
    connection, image = as_job
    upload(connection, image, connection.user["id"], made(1))
    (first,) = project.annotations()
    server.store.update("imageinstance", image.id, reviewUser=server.user["id"], inReview=True)
    stored_annotations.review(server.store, server.user, first, [])
    server.fail({"path": "annotation.json", "method": "POST", "kind": "twice"})
    upload(connection, image, connection.user["id"], made(2)[1:])  # nearly the same outline
    kept = [item["id"] for item in project.annotations() if item["layer"] == "algo"]
    assert first["id"] in kept
    assert len(kept) == 2


def test_a_read_only_project_says_so(as_job, project, server, no_pauses):
    connection, image = as_job
    server.store.update("project", project.id, isReadOnly=True)
    with pytest.raises(AnnotatorError, match=r"2 of 2 annotations were not stored: .*is read-only"):
        upload(connection, image, connection.user["id"], made(2))


@pytest.mark.parametrize("earlier", [None, []])
def test_an_image_that_is_deleted_meanwhile_is_one_bad_image(as_job, server, no_pauses, earlier):
    connection, image = as_job
    server.store.remove("imageinstance", image.id)
    with pytest.raises(AnnotatorError, match=r"corners\.png: .*deleted") as caught:
        upload(connection, image, connection.user["id"], made(2), earlier)
    assert caught.value.code is ExitCode.BAD_IMAGE


def test_one_part_refused_does_not_give_up_the_other(as_job, project, server, no_pauses):
    connection, image = as_job
    server.fail(
        {"path": "annotation.json", "method": "POST", "kind": "status", "value": 413},
        {"path": "annotation.json", "method": "POST", "kind": "status", "value": 503},
    )
    assert upload(connection, image, connection.user["id"], made(101)) == 101
    assert len(project.annotations()) == 101


def test_terms_are_found_under_any_of_their_names(connection, project):
    found = find_terms(connection, project.id, [VIOLIN, GUITAR, HARP, LUTE], [], create=False)
    assert set(found) == {3573, 3285}  # "snaartuig" is an old Dutch word that we do not know


def test_missing_terms_are_created_once(connection, project, server):
    first = find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True)
    assert find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True) == first
    names = [term["name"] for term in server.store.find("term", ontology=project.ontology)]
    assert names.count("Lute (3394)") == 1
    assert "Violin (3573)" in names


def test_a_term_whose_answer_got_lost_is_there(connection, project, server):
    server.fail({"path": "term.json", "method": "POST", "kind": "lost_answer"})
    assert set(find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True)) == {3573, 3394}


def test_a_term_that_people_deleted_is_not_created_again(connection, project):
    """The core keeps it, does not list it, and refuses its name."""
    first = find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True)
    connection.delete(f"term/{first[3394]}.json", what="the lute")
    assert find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True) == {3573: first[3573]}


def test_terms_that_people_deleted_all_are_told(connection, server):
    own = seed.create_project(server.store, "Cleared", server.user)
    for term in find_terms(connection, own["id"], [LUTE], [], create=True).values():
        connection.delete(f"term/{term}.json", what="the lute")
    with pytest.raises(AnnotatorError, match=r'were deleted.* Add terms such as "Lute" by hand\.') as caught:
        find_terms(connection, own["id"], [LUTE], [], create=True)
    assert caught.value.code is ExitCode.NOT_FOUND
    by_hand = connection.post("term.json", {"name": "Lute", "ontology": own["ontology"]}, what="it")["term"]["id"]
    assert find_terms(connection, own["id"], [LUTE], [], create=True) == {3394: by_hand}


@pytest.mark.parametrize("kind", ["status", "close", "html"])
def test_a_term_is_created_also_where_the_server_fails_once(connection, project, server, no_pauses, kind):
    server.fail({"path": "term.json", "method": "POST", "kind": kind, "value": 502})
    assert set(find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True)) == {3573, 3394}
    assert len(server.store.find("term", ontology=project.ontology, name="Lute (3394)")) == 1


@pytest.mark.parametrize("create", [False, True])
def test_a_project_without_ontology_says_what_to_do(connection, project, server, create):
    server.store.update("project", project.id, ontology=None)
    with pytest.raises(AnnotatorError, match=rf"Project {project.id} has no ontology\. Choose one") as caught:
        find_terms(connection, project.id, [LUTE], [], create)
    assert caught.value.code is ExitCode.NOT_FOUND


def test_a_term_that_cannot_be_created_says_so(connection, project, server):
    server.fail({"path": "term.json", "method": "POST", "kind": "status", "value": 403})
    with pytest.raises(AnnotatorError, match=r"No right to use the new term Lute \(3394\)"):
        find_terms(connection, project.id, [VIOLIN, LUTE], [], create=True)


def test_terms_that_no_vocabulary_knows_are_found_by_their_names(connection, server):
    own = seed.create_project(server.store, "Curiosities", server.user, [" Lens of Doom ", "Lens of Doom"])
    (older, _) = sorted(term["id"] for term in server.store.find("term", ontology=own["ontology"]))
    # They are enough, though nothing that the vocabulary knows has a term.
    assert find_terms(connection, own["id"], [LUTE], ["Lens of Doom", "Chime"], create=False) == {"Lens of Doom": older}
    created = find_terms(connection, own["id"], [LUTE], ["Lens of Doom", "Chime"], create=True)
    assert created["Lens of Doom"] == older
    names = {term["id"]: term["name"] for term in server.store.find("term", ontology=own["ontology"])}
    assert (names[created[3394]], names[created["Chime"]]) == ("Lute (3394)", "Chime")
    assert len(names) == 4


def test_no_fitting_term_says_what_to_do(connection, project):
    with pytest.raises(AnnotatorError, match='Add terms such as "Lute", or switch on create_terms'):
        find_terms(connection, project.id, [LUTE], [], create=False)
