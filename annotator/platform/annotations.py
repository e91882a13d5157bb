"""Detections to annotations: each stored once, whatever the server answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import shapely
from scipy.optimize import linear_sum_assignment

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import evidence, properties
from annotator.platform.connection import REFUSED, Connection, Json, RequestFailed, pause, store_once
from annotator.platform.geometry import from_location
from annotator.platform.images import ProjectImage

log = logging.getLogger(__name__)

CHUNK = 100  # annotations in one request
ATTEMPTS = 4  # at storing what an image's layer lacks
ALGO_ANNOTATION = "be.cytomine.ontology.AlgoAnnotation"
SHOWN = {"showMeta": True, "showWKT": True, "showTerm": True, "max": 0, "offset": 0}  # in a list, all of it
FORBIDDEN = 403  # another image would fare no better
# Outlines that overlap more (intersection over union) are the same detection: an earlier job may have made it on
# another machine, whose arithmetic differs a little. Two detections of one job never overlap so much.
SAME_DETECTION = 0.7


@dataclass(frozen=True)
class NewAnnotation:
    """An annotation to store.

    Attributes:
        location: WKT in Cytomine's frame, as `geometry.to_location` makes it.
        terms: ids; may be empty.
        properties: key and value pairs, shown beside the annotation. The score is one of them, not the rate of the
            term: a rate costs a request an annotation and makes a second row of the term (classic core, no uniqueness).
        evidence: a JPEG to attach to it; empty for none.
    """

    location: str
    terms: tuple[int, ...]
    properties: dict[str, str] = field(default_factory=dict)
    evidence: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class StoredAnnotation:
    """An annotation as it was read back.

    Attributes:
        id: its number.
        image: id of its image.
        polygon: in our frame (top-left).
        terms: ids.
        properties: key and value pairs.
    """

    id: int
    image: int
    polygon: Any
    terms: tuple[int, ...]
    properties: dict[str, str]


def upload(
    connection: Connection,
    image: ProjectImage,
    user: int,
    annotations: Sequence[NewAnnotation],
    earlier: Sequence[int] | None = None,
) -> int:
    """Store the annotations of one image: all of them, none twice.

    The server takes an array item by item and may store a part of it, store it and lose its answer, or, where something
    on the way repeats requests, store it twice. So the layer is read back each time: what it lacks is sent again, what
    it holds twice is deleted.

    Args:
        connection: as the job.
        image: which.
        user: id of the job's user; its layer on this image must hold nothing but these annotations.
        annotations: to store.
        earlier: None for a job that has just begun. Otherwise ids of the users of jobs that this one goes on with, none
            if it is the same one started again: what their layers and its own hold already is not sent.

    Returns:
        How many of them the layers hold.

    Raises:
        AnnotatorError: some could not be stored, those that were stay; (BAD_IMAGE) the server refuses them or no longer
            has the image, (UPLOAD) it may take them later, or takes none at all.
    """
    if not annotations:
        return 0
    users = (user, *(earlier or ()))
    plain = earlier is None  # all of one array have fared alike
    stored = [] if plain else _layer(connection, image, *users)
    pairs = _same(annotations, stored)
    failures: list[tuple[str, int | None]] = []
    for attempt in range(ATTEMPTS):
        lacking = [annotations[i] for i in np.setdiff1d(np.arange(len(annotations)), pairs[:, 0])]
        if not lacking or (failures and all(status in REFUSED for _, status in failures)):
            break
        if failures:
            pause(attempt - 1)  # a request that we gave up on may still be at work
        chunks = [lacking[start : start + CHUNK] for start in range(0, len(lacking), CHUNK)]
        failures = [failure for chunk in chunks if (failure := _send(connection, image, chunk))]
        stored = _layer(connection, image, *users)
        pairs = _same(annotations, stored)
        if not failures:
            break
        plain = False
    missing = len(annotations) - len(pairs)
    if missing and failures:
        reason, status = failures[0]
        lasting = status in REFUSED and status != FORBIDDEN
        raise AnnotatorError(
            f"{image.name}: {missing} of {len(annotations)} annotations were not stored: {reason}",
            ExitCode.BAD_IMAGE if lasting else ExitCode.UPLOAD,
        )
    _delete_doubles(connection, user, stored, pairs[:, 1])
    for i, j in pairs:
        if not stored[j].get("term"):  # the server may have stopped between the outline and its terms
            _add_terms(connection, stored[j]["id"], annotations[i].terms)
    come = False  # one that lacks none tells of all, but for what cannot come with an annotation
    for i, j in pairs:
        if not come or not all(map(_may_come, annotations[i].properties.values())):
            come |= not _add_properties(connection, stored[j]["id"], annotations[i].properties) and plain
    for i, j in pairs:
        if annotations[i].evidence:
            evidence.attach(connection, ALGO_ANNOTATION, stored[j]["id"], annotations[i].evidence)
    return len(annotations)


def _same(wanted: Sequence[NewAnnotation], stored: Sequence[Json]) -> np.ndarray:
    """Which stored annotation each wanted one is, if any: (k, 2) positions in both, each at most once.

    Of all pairings that which overlaps most (linear sum assignment).
    """
    overlaps = _overlaps([annotation.location for annotation in wanted], [item["location"] for item in stored])
    i, j = linear_sum_assignment(overlaps, maximize=True)
    return np.stack([i, j], axis=1)[overlaps[i, j] > SAME_DETECTION]


def _overlaps(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Intersection over union of n polygons with m others, (n, m), all WKT."""
    ours, theirs = (shapely.make_valid(shapely.from_wkt(np.array(texts, object))) for texts in (first, second))
    i, j = shapely.STRtree(theirs).query(ours)  # those whose bounds meet
    common = shapely.area(shapely.intersection(ours[i], theirs[j]))
    overlaps = np.zeros((len(ours), len(theirs)))
    overlaps[i, j] = common / (shapely.area(ours[i]) + shapely.area(theirs[j]) - common)
    return overlaps


def _delete_doubles(connection: Connection, user: int, stored: Sequence[Json], kept: np.ndarray) -> None:
    """Delete what the job's own layer holds besides, where it is the same detection as one that is kept."""
    own = np.array([item["user"] == user and not item["countReviewedAnnotations"] for item in stored], bool)
    others = np.setdiff1d(np.flatnonzero(own), kept)
    locations = np.array([item["location"] for item in stored], object)
    doubles = _overlaps(locations[others], locations[kept]).max(axis=1, initial=0) > SAME_DETECTION
    for position in others[doubles]:
        number = stored[position]["id"]
        log.warning("Annotation %d was stored twice: deleted.", number)
        connection.delete(f"annotation/{number}.json", what=f"annotation {number}")


def _send(
    connection: Connection, image: ProjectImage, annotations: Sequence[NewAnnotation]
) -> tuple[str, int | None] | None:
    """Post one array. Returns None, or why it failed and the status that says so."""
    body = [
        {
            "location": annotation.location,
            "image": image.id,
            "term": list(annotation.terms),
            "properties": [
                {"key": key, "value": value} for key, value in annotation.properties.items() if _may_come(value)
            ],
        }
        for annotation in annotations
    ]
    what = f"{len(body)} new annotations on {image.name}"
    try:
        answer = connection.post("annotation.json", body, what=what, accept=(200, 206, 400))
    except RequestFailed as error:
        return str(error), error.status
    if answer.get("success", True):
        return None
    errors = answer.get("errors")
    if not isinstance(errors, list):  # not about single items
        return str(errors or answer.get("message"))[:200], 400
    # Each item is stored or refused by itself: when all were refused, they would be again. The core lists those that it
    # refuses, not those at which it failed itself, as at a deadlock of its database: these it may take the next time.
    reason = errors[0].get("message") if errors else answer.get("message")
    return str(reason)[:200], 400 if len(errors) == len(body) else 206


def _may_come(value: str) -> bool:
    """Whether a property may come with its annotation: the core puts it into JSON as it is, so quotes break it."""
    return json.dumps(value, ensure_ascii=False) == f'"{value}"'


def _layer(connection: Connection, image: ProjectImage, *users: int) -> list[Json]:
    query = SHOWN | {"user": ",".join(map(str, users)), "image": image.id}
    try:
        found = connection.items("annotation.json", query, what=f"annotations on image {image.id}")
    except RequestFailed as error:
        if error.status != 404:
            raise
        raise AnnotatorError(f"{image.name}: it was deleted from the project.", ExitCode.BAD_IMAGE) from error
    return [item for item in found if item["class"] == ALGO_ANNOTATION]


def remove_unreviewed(connection: Connection, project: int, user: int) -> tuple[int, int]:
    """Delete a job's annotations of which there is no reviewed copy.

    Args:
        connection: as that job: the server lets nobody else delete them.
        project: id.
        user: id of the job's user.

    Returns:
        How many were deleted, and how many kept.
    """
    query = SHOWN | {"user": user, "project": project}
    listed = connection.items("annotation.json", query, what=f"annotations of user {user}")
    own = [item for item in listed if item["class"] == ALGO_ANNOTATION and item["user"] == user]
    unreviewed = [item for item in own if not item["countReviewedAnnotations"]]
    for item in unreviewed:
        connection.delete(f"annotation/{item['id']}.json", what=f"annotation {item['id']}")
    return len(unreviewed), len(own) - len(unreviewed)


def _add_terms(connection: Connection, annotation: int, terms: Sequence[int]) -> None:
    for term in terms:
        try:
            # A second row of the same term would be taken too.
            store_once(partial(_put_term, connection, annotation, term), partial(_term, connection, annotation, term))
        except RequestFailed as error:
            message = f"Annotation {annotation} stays without its term {term}: {error}"
            raise AnnotatorError(message, ExitCode.UPLOAD) from error


def _put_term(connection: Connection, annotation: int, term: int) -> None:
    body = {"annotation": annotation, "annotationIdent": annotation, "term": term, "rate": 0}
    connection.post(f"annotation/{annotation}/term/{term}.json", body, what=f"term {term} of annotation {annotation}")


def _term(connection: Connection, annotation: int, term: int) -> Json | None:
    there = connection.items(f"annotation/{annotation}/term.json", what=f"terms of {annotation}")
    return next((row for row in there if row["term"] == term), None)  # rows link terms to the annotation


def _properties_of(connection: Connection, annotation: int) -> dict[str, str]:
    return properties.read(connection, ALGO_ANNOTATION, annotation, f"annotation {annotation}")


def _add_properties(connection: Connection, annotation: int, wanted: dict[str, str]) -> bool:
    """Add what an annotation lacks: core 3.0 drops properties that come with it. Returns whether it lacked any."""
    lacking = sorted(wanted.keys() - _properties_of(connection, annotation).keys())
    for key in lacking:
        try:
            properties.record(connection, ALGO_ANNOTATION, annotation, key, wanted[key], f"annotation {annotation}")
        except RequestFailed as error:
            message = f"Annotation {annotation} stays without its {key}: {error}"
            raise AnnotatorError(message, ExitCode.UPLOAD) from error
    return bool(lacking)


def fetch_annotations(connection: Connection, user: int, images: Sequence[ProjectImage]) -> list[StoredAnnotation]:
    """What one job has stored on some images, read back from the server."""
    found = []
    for image in images:
        for item in _layer(connection, image, user):
            found.append(
                StoredAnnotation(
                    id=item["id"],
                    image=image.id,
                    polygon=from_location(item["location"], image.height),
                    terms=tuple(item.get("term") or ()),
                    properties=_properties_of(connection, item["id"]),
                )
            )
    return found
