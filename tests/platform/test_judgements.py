"""What people said about a project's images, read from a server that holds all kinds of annotations."""

from collections import Counter

import pytest
import shapely

from annotator.embedded import annotations, seed
from annotator.platform.connection import Connection
from annotator.platform.images import choose_images
from annotator.platform.judgements import Choice, fetch_judgements

HEIGHT = 200  # of the picture, in pixels
SQUARE = "POLYGON ((20 20, 80 20, 80 80, 20 80, 20 20))"  # Cytomine's frame: y goes up
WIDER = "POLYGON ((20 20, 110 20, 110 80, 20 80, 20 20))"
ELSEWHERE = "POLYGON ((200 20, 260 20, 260 80, 200 80, 200 20))"


class Wall:
    """A project with two images, what hangs there, and what was said about it."""

    def __init__(self, project, picture):
        self.project, self.server, self.store = project, project.server, project.server.store
        self.images = [project.add_image(picture) for _ in range(2)]
        self.violin, self.guitar = (self.term(name) for name in ("Violin (3573)", "snaartuig"))
        job = seed.create_job(self.store, project.id, project.software, self.server.user["id"])
        self.job_user = self.store.get("user", job["userJob"])

    def term(self, name):
        (row,) = self.store.find("term", ontology=self.project.ontology, name=name)
        return row["id"]

    def draw(self, location=SQUARE, terms=None, user=None, image=0):
        body = {"image": self.images[image], "location": location, "terms": [self.violin] if terms is None else terms}
        return annotations.add(self.store, user or self.server.user, body)

    def detect(self, location=SQUARE, terms=None, image=0):
        return self.draw(location, terms, self.job_user, image)

    def look_through(self, image=0):
        reviewer = self.server.user["id"]
        return self.store.update("imageinstance", self.images[image], reviewed=True, reviewUser=reviewer)

    def validate(self, annotation, terms=(), location=None):
        self.store.update("imageinstance", annotation["image"], reviewUser=self.server.user["id"])
        copy = annotations.review(self.store, self.server.user, annotation, list(terms))
        return self.store.update("annotation", copy["id"], location=location) if location else copy

    def said(self, **choice):
        connection = Connection(self.server.access.host, self.server.access.public_key, self.server.access.private_key)
        images = choose_images(connection, self.project.id, ())
        known = [row["id"] for row in self.store.find("term", ontology=self.project.ontology)]
        return fetch_judgements(connection, self.project.id, images, known, Choice(**choice))


@pytest.fixture
def wall(project, picture):
    return Wall(project, picture)


def verdicts(said):
    found, _ = said
    return sorted(judgement.verdict.value for judgement in found)


def test_nothing_said_is_nothing(wall):
    wall.detect()
    assert wall.said() == ([], Counter())


def test_what_became_of_each_detection(wall):
    wall.validate(wall.detect())
    wall.validate(wall.detect(ELSEWHERE), terms=[wall.guitar])
    wall.validate(wall.detect(SQUARE, image=1), location=WIDER)
    wall.detect(ELSEWHERE, image=1)
    assert verdicts(wall.said()) == ["accepted", "corrected", "corrected"]
    wall.look_through(1)  # now the one that is left over was looked at
    assert verdicts(wall.said()) == ["accepted", "corrected", "corrected", "rejected"]


def test_a_validated_copy_counts_once_and_is_trusted_over_its_parent(wall):
    wall.validate(wall.draw(terms=[wall.violin]), terms=[wall.guitar], location=WIDER)
    (judgement,), left_out = wall.said()
    assert judgement.terms == (wall.guitar,)
    assert judgement.polygon.equals(shapely.box(20, HEIGHT - 80, 110, HEIGHT - 20))  # and y goes down
    assert not left_out


def test_what_another_job_found_where_somebody_validated_is_not_rejected(wall):
    wall.validate(wall.detect())
    wall.detect(WIDER)
    wall.look_through()
    assert verdicts(wall.said()) == ["accepted"]


def test_whom_to_believe_is_chosen(wall):
    other = seed.create_user(wall.store, "visitor")
    wall.validate(wall.detect())
    wall.draw(ELSEWHERE)
    wall.draw("POLYGON ((120 20, 180 20, 180 80, 120 80, 120 20))", terms=[wall.guitar], user=other)
    assert verdicts(wall.said()) == ["accepted", "drawn", "drawn"]
    assert verdicts(wall.said(reviewed=0)) == ["drawn", "drawn", "passed over"]
    assert verdicts(wall.said(reviewed=2)) == ["accepted", "passed over", "passed over"]
    assert verdicts(wall.said(users=(other["id"],))) == ["accepted", "drawn", "passed over"]
    assert verdicts(wall.said(terms=(wall.guitar,))) == ["drawn", "passed over", "passed over"]


def test_what_somebody_drew_counts_once_where_validated_annotations_are_left_out(wall):
    wall.validate(wall.draw(), location=WIDER)
    wall.detect(ELSEWHERE)
    wall.look_through()  # which says nothing of what is left over, for who looked through is not asked
    (judgement,), left_out = wall.said(reviewed=0)
    assert (judgement.verdict.value, judgement.polygon.area) == ("drawn", 3600)
    assert not left_out


def test_what_is_passed_over_hides_nothing_that_is_learnt(wall):
    other = seed.create_user(wall.store, "visitor")
    wall.draw()
    wall.draw("POLYGON ((22 20, 80 20, 80 80, 22 80, 22 20))", user=other)  # the same violin
    wall.draw(ELSEWHERE, user=other)  # another one
    wall.draw("POLYGON ((2 2, 290 2, 290 195, 2 195, 2 2))", terms=[])  # a frame around the artwork
    found, _ = wall.said(users=(wall.server.user["id"],))
    assert sorted((judgement.verdict.value, judgement.polygon.bounds[0]) for judgement in found) == [
        ("drawn", 20),
        ("passed over", 200),
    ]


@pytest.mark.parametrize(
    "location",
    [
        "POINT (50 50)",
        "LINESTRING (20 20, 80 80)",
        "POLYGON ((20 20, 20.1 20, 20.1 20.1, 20 20))",
        # What no server takes today may lie there since earlier days.
        "POLYGON EMPTY",
        "POLYGON ((20 20, 80 20, 20 20))",
        "POLYGON ((400 20, 460 20, 460 80, 400 80, 400 20))",
        "no geometry at all",
        "POLYGON ((20 20, 80 20, NaN 80, 20 80, 20 20))",
        "POINT (NaN NaN)",
        None,
    ],
)
def test_shapes_that_show_nothing_are_left_out_and_counted(wall, location):
    drawn, found = wall.draw(), wall.detect(ELSEWHERE)
    for annotation in (drawn, found):
        wall.store.update("annotation", annotation["id"], location=location)
    wall.look_through()
    assert wall.said() == ([], Counter({"without an area inside the image": 1}))


def test_a_shape_that_crosses_itself_or_the_border_counts_with_what_is_inside(wall):
    bow_tie, across = wall.draw(), wall.draw(ELSEWHERE)
    wall.store.update("annotation", bow_tie["id"], location="POLYGON ((0 0, 40 40, 40 0, 0 40, 0 0))")
    wall.store.update("annotation", across["id"], location="POLYGON ((280 20, 400 20, 400 80, 280 80, 280 20))")
    found, left_out = wall.said()
    assert sorted(judgement.polygon.area for judgement in found) == [800, 1200]
    assert not left_out


def test_terms_that_were_deleted_since_are_left_out_and_counted(wall):
    wall.draw(terms=[wall.guitar])
    wall.draw(ELSEWHERE, terms=[wall.guitar, wall.violin])
    wall.store.remove("term", wall.guitar)
    found, left_out = wall.said()
    assert {(judgement.terms, judgement.verdict.value) for judgement in found} == {
        ((), "passed over"),
        ((wall.violin,), "drawn"),
    }
    assert left_out == Counter({"of a term that the project no longer has": 1})


def test_annotations_without_a_term_are_left_out_and_counted(wall):
    wall.draw(terms=[])
    found, left_out = wall.said()
    assert verdicts((found, left_out)) == ["passed over"]
    assert left_out == Counter({"without a term": 1})


def test_of_several_terms_that_are_learnt_one_is_enough(wall):
    wall.draw(terms=[wall.violin])
    wall.draw(ELSEWHERE, terms=[wall.guitar, wall.violin])
    assert verdicts(wall.said(terms=(wall.violin, wall.guitar))) == ["drawn", "drawn"]


def test_what_a_job_found_where_a_person_drew_is_not_rejected(wall):
    wall.draw()
    wall.detect(WIDER, terms=[wall.guitar])
    wall.look_through()
    assert verdicts(wall.said()) == ["drawn"]


def test_a_detection_that_was_moved_away_when_it_was_validated_is_not_rejected(wall):
    """It was corrected: nobody said that nothing is where it was."""
    wall.validate(wall.detect(), location=ELSEWHERE)
    wall.look_through()
    assert verdicts(wall.said()) == ["corrected"]


def test_what_somebody_validated_counts_also_where_the_job_that_found_it_is_gone(wall):
    found = wall.detect()
    wall.validate(found)
    wall.store.remove("annotation", found["id"])
    assert verdicts(wall.said()) == ["accepted"]


@pytest.mark.parametrize(("right", "verdict"), [(81, "accepted"), (90, "corrected")])
def test_a_shape_is_the_same_only_where_hardly_anything_was_changed(wall, right, verdict):
    wall.validate(wall.detect(), location=f"POLYGON ((20 20, {right} 20, {right} 80, 20 80, 20 20))")
    assert verdicts(wall.said()) == [verdict]


@pytest.mark.parametrize(("left", "expected"), [(40, ["accepted"]), (60, ["accepted", "rejected"])])
def test_how_much_of_a_detection_may_lie_beside_what_was_validated(wall, left, expected):
    """Intersection over union 0.5 and 0.2."""
    wall.validate(wall.detect())
    wall.detect(f"POLYGON (({left} 20, {left + 60} 20, {left + 60} 80, {left} 80, {left} 20))")
    wall.look_through()
    assert verdicts(wall.said()) == expected


def test_what_is_passed_over_and_has_a_name_hides_only_the_same(wall):
    """Another instrument at the place of one that is learnt, and one that fills the picture, are kept."""
    other = seed.create_user(wall.store, "visitor")
    wall.draw()
    wall.draw(terms=[wall.guitar], user=other)
    wall.draw("POLYGON ((2 2, 290 2, 290 195, 2 195, 2 2))", terms=[wall.guitar], user=other)
    found, _ = wall.said(users=(wall.server.user["id"],))
    assert verdicts((found, None)) == ["drawn", "passed over", "passed over"]


def test_without_validated_annotations_a_renamed_copy_does_not_stand_beside_what_was_drawn(wall):
    wall.validate(wall.draw(), terms=[wall.guitar])
    (judgement,), _ = wall.said(reviewed=0)
    assert (judgement.verdict.value, judgement.terms) == ("drawn", (wall.violin,))
