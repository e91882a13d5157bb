"""What people said about a project's images: what they drew, and what became of each detection of earlier jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import shapely
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from annotator.platform.annotations import ALGO_ANNOTATION, SHOWN
from annotator.platform.connection import Connection, Json
from annotator.platform.geometry import from_location
from annotator.platform.images import ProjectImage

SAME_SHAPE = 0.95  # intersection over union from which a validated copy has the shape of its parent
SAME_PLACE = 0.3  # the same, from which two annotations show one thing
FRAME = 0.5  # share of an image from which a shape without a term is taken for a frame around what it shows


class Verdict(Enum):
    """What a person said, from least to most effort."""

    DRAWN = "drawn"  # by a person, and nobody has validated it
    ACCEPTED = "accepted"  # validated as it was
    CORRECTED = "corrected"  # validated with another shape or term
    REJECTED = "rejected"  # a job's, left over when a person had looked through the image
    PASSED_OVER = "passed over"  # drawn or validated, but not chosen or not named: it may be an instrument all the same


@dataclass(frozen=True)
class Judgement:
    """One thing that was said about one image.

    Attributes:
        image: its id.
        polygon: shapely, in pixels of the image, top-left origin, inside the image.
        terms: ids; maybe none of what was rejected or passed over, at least one of all else.
        verdict: what was said.
    """

    image: int
    polygon: BaseGeometry
    terms: tuple[int, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Choice:
    """Which annotations are learnt from; the others are passed over, which is not to say that there is nothing.

    Attributes:
        terms: ids; empty for all.
        users: ids of those who drew, or whose job drew; empty for all. Validated ones count whoever drew them.
        reviewed: 0 without validated annotations, 1 with them, 2 only them.
    """

    terms: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    reviewed: int = 1


def fetch_judgements(
    connection: Connection, project: int, images: Sequence[ProjectImage], known_terms: Collection[int], choice: Choice
) -> tuple[list[Judgement], Counter[str]]:
    """Read what people said about some images.

    A validated annotation is a copy of the one it came from: the copy counts and its parent does not, unless validated
    ones are left out. A detection is rejected only where a person ended the review of its image and nothing that was
    validated or drawn is at its place: another job may have found the same.

    Args:
        connection: to the server.
        project: id.
        images: those that count.
        known_terms: ids of the terms that the project has now.
        choice: which annotations count.

    Returns:
        The judgements, and how many annotations were left out, by why.
    """
    image_of = {image.id: image for image in images}
    left_out: Counter[str] = Counter()
    # By project and not by image: a list of a thousand ids does not fit into an address.
    query = SHOWN | {"project": project}
    drawn = connection.items("annotation.json", query | {"includeAlgo": True}, what="the annotations of the project")
    what = "the validated annotations of the project"
    validated = connection.items("annotation.json", query | {"reviewed": True}, what=what)
    parents = {item["id"]: item for item in drawn}
    copied = {item.get("parentIdent") for item in validated}
    leftovers = [item for item in drawn if item["class"] == ALGO_ANNOTATION and item["id"] not in copied]
    people = [item for item in drawn if item["class"] != ALGO_ANNOTATION]
    if choice.reviewed:
        people = [item for item in people if item["id"] not in copied]
        said = [(item, _verdict(item, parents.get(item.get("parentIdent")))) for item in validated]
    else:
        by_people = {item["id"] for item in people}
        said = [(item, Verdict.PASSED_OVER) for item in validated if item.get("parentIdent") not in by_people]
    for item in people:
        chosen = choice.reviewed < 2 and (not choice.users or item["user"] in choice.users)
        said.append((item, Verdict.DRAWN if chosen else Verdict.PASSED_OVER))
    found: list[Judgement] = []
    for item, verdict in said:
        found += _judgement(item, image_of, known_terms, choice.terms, verdict, left_out)
    found = _with_their_own_place(found, image_of)
    if choice.reviewed:
        looked_through = {image.id: image for image in images if image.looked_through}
        found += _rejected(leftovers, [*validated, *people], looked_through)
    return found, left_out


def _verdict(copy: Json, parent: Json | None) -> Verdict:
    if parent is None:
        return Verdict.ACCEPTED
    same_terms = set(copy.get("term") or ()) == set(parent.get("term") or ())
    shapes = [shapely.make_valid(from_location(item["location"], 0)) for item in (copy, parent)]  # in whatever frame
    return Verdict.ACCEPTED if same_terms and overlap(*shapes) >= SAME_SHAPE else Verdict.CORRECTED


def overlap(one: BaseGeometry, other: BaseGeometry) -> float:
    """Intersection over union of two shapes, 0 where both are without area."""
    union = shapely.union(one, other).area
    return float(shapely.intersection(one, other).area / union) if union else 0.0


def _judgement(
    item: Json,
    image_of: Mapping[int, ProjectImage],
    known_terms: Collection[int],
    wanted_terms: Collection[int],
    verdict: Verdict,
    left_out: Counter[str],
) -> Iterator[Judgement]:
    image = image_of.get(item["image"])
    if image is None:
        return
    terms = tuple(dict.fromkeys(item.get("term") or ()))
    alive = tuple(term for term in terms if term in known_terms)
    polygon = _inside(item, image)
    if verdict is not Verdict.PASSED_OVER:
        if polygon is None:
            left_out["without an area inside the image"] += 1
        elif not terms:
            left_out["without a term"] += 1
        elif not alive:
            left_out["of a term that the project no longer has"] += 1
        if not alive or (wanted_terms and not set(alive) & set(wanted_terms)):
            verdict = Verdict.PASSED_OVER
    if polygon is not None:
        yield Judgement(image.id, polygon, alive, verdict)


def _with_their_own_place(found: Sequence[Judgement], image_of: Mapping[int, ProjectImage]) -> list[Judgement]:
    """Without what is passed over where the same is learnt, and without frames: that would hide what is said there."""
    there: dict[int, list[Judgement]] = {}
    for one in found:
        if one.verdict is not Verdict.PASSED_OVER:
            there.setdefault(one.image, []).append(one)

    def hides(one: Judgement) -> bool:
        image = image_of[one.image]
        frame = not one.terms and one.polygon.area > FRAME * image.width * image.height
        return frame or any(
            overlap(one.polygon, other.polygon) >= SAME_PLACE
            for other in there.get(one.image, ())
            if not one.terms or set(one.terms) & set(other.terms)
        )

    return [one for one in found if one.verdict is not Verdict.PASSED_OVER or not hides(one)]


def _inside(item: Json, image: ProjectImage) -> BaseGeometry | None:
    """The part of an annotation that lies in its image, None where that has less than a pixel."""
    shape = shapely.make_valid(from_location(item["location"], image.height))
    shape = shapely.intersection(shape, box(0, 0, image.width, image.height))
    return shape if shape.area >= 1 else None


def _rejected(
    leftovers: Sequence[Json], said: Sequence[Json], looked_through: Mapping[int, ProjectImage]
) -> Iterator[Judgement]:
    """Detections in images that were looked through, where nothing is that anybody validated or drew."""
    there: dict[int, list[BaseGeometry]] = {}
    for item in said:
        image = looked_through.get(item["image"])
        if image and (polygon := _inside(item, image)) is not None:
            there.setdefault(image.id, []).append(polygon)
    for item in leftovers:
        image = looked_through.get(item["image"])
        polygon = _inside(item, image) if image else None
        if polygon is None or any(overlap(polygon, other) >= SAME_PLACE for other in there.get(item["image"], ())):
            continue
        yield Judgement(item["image"], polygon, tuple(item.get("term") or ()), Verdict.REJECTED)
