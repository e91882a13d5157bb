"""Detections to annotations: each stored once, whatever the server answers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import properties
from annotator.platform.connection import Connection, Json, RequestFailed
from annotator.platform.geometry import from_location
from annotator.platform.images import ProjectImage

log = logging.getLogger(__name__)

CHUNK = 100  # annotations in one request
ATTEMPTS = 4
ALGO_ANNOTATION = "be.cytomine.ontology.AlgoAnnotation"
SHOWN = {"showMeta": True, "showWKT": True, "showTerm": True, "max": 0, "offset": 0}  # in a list, all of it
REFUSED = (400, 403, 404, 409, 413)  # trying the same again would change nothing


@dataclass(frozen=True)
class NewAnnotation:
    """An annotation to store.

    Attributes:
        location: WKT in Cytomine's frame, as `geometry.to_location` makes it.
        terms: ids; may be empty.
        properties: key and value pairs, shown beside the annotation. The score is one of them, not the rate of the
            term: a rate costs a request an annotation and makes a second row of the term (classic core, no uniqueness).
    """

    location: str
    terms: tuple[int, ...]
    properties: dict[str, str] = field(default_factory=dict)


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

    The server takes an array item by item and may store a part of it, or store it and lose its answer. So after any
    answer but a plain yes the job's own layer is read back, and only what it lacks is sent again.

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
        AnnotatorError: (UPLOAD) some could not be stored; those that were stay.
    """
    users = (user, *(earlier or ()))
    waiting, failures = list(annotations), []
    if earlier is not None and annotations:
        waiting = _lacking(annotations, _layer(connection, image.id, *users))
    for attempt in range(ATTEMPTS):
        chunks = [waiting[start : start + CHUNK] for start in range(0, len(waiting), CHUNK)]
        failures = [failure for chunk in chunks if (failure := _send(connection, image, chunk))]
        if not failures:
            break
        time.sleep(2**attempt)  # a request that we gave up on may still be at work
        waiting = _lacking(annotations, _layer(connection, image.id, *users))
        if not waiting or all(final for _, final in failures):
            break
    if failures and waiting:
        reason, _ = failures[0]
        raise AnnotatorError(
            f"{image.name}: {len(waiting)} of {len(annotations)} annotations were not stored: {reason}",
            ExitCode.UPLOAD,
        )
    if annotations:
        _complete_properties(connection, image.id, user, annotations)
    return len(annotations)


def _send(connection: Connection, image: ProjectImage, annotations: Sequence[NewAnnotation]) -> tuple[str, bool] | None:
    """Post one array. Returns None, or why it failed and whether another try would be in vain."""
    body = [
        {
            "location": annotation.location,
            "image": image.id,
            "term": list(annotation.terms),
            "properties": [{"key": key, "value": value} for key, value in annotation.properties.items()],
        }
        for annotation in annotations
    ]
    what = f"{len(body)} new annotations on {image.name}"
    try:
        answer = connection.post("annotation.json", body, what=what, accept=(200, 206, 400))
    except RequestFailed as error:
        return str(error), error.status in REFUSED
    if answer.get("success", True):
        return None
    errors = answer.get("errors")
    if not isinstance(errors, list) or not errors:  # not about single items
        return str(errors or answer.get("message"))[:200], True
    # Each item is stored or refused by itself: when all were refused, they would be again.
    return str(errors[0].get("message"))[:200], len(errors) == len(body)


def _key(location: str, terms: Sequence[int]) -> tuple[Any, ...]:
    shape = shapely.normalize(shapely.set_precision(shapely.from_wkt(location), 0.01))
    return shape.wkb, tuple(sorted(terms))


def _layer(connection: Connection, image: int, *users: int) -> list[Json]:
    query = SHOWN | {"user": ",".join(map(str, users)), "image": image}
    found = connection.items("annotation.json", query, what=f"annotations on image {image}")
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


def _lacking(wanted: Sequence[NewAnnotation], stored: Sequence[Json]) -> list[NewAnnotation]:
    """Those of ``wanted`` that ``stored`` does not hold; equal ones count as often as they stand there."""
    there = Counter(_key(item["location"], item.get("term") or ()) for item in stored)
    lacking = []
    for annotation in wanted:
        key = _key(annotation.location, annotation.terms)
        if there[key]:
            there[key] -= 1
        else:
            lacking.append(annotation)
    return lacking


def _properties_of(connection: Connection, annotation: int) -> dict[str, str]:
    return properties.read(connection, ALGO_ANNOTATION, annotation, f"annotation {annotation}")


def _complete_properties(connection: Connection, image: int, user: int, annotations: Sequence[NewAnnotation]) -> None:
    """Core 3.0 drops properties that come with an annotation. Then they are added one by one."""
    stored = _layer(connection, image, user)
    if not stored or not annotations[0].properties or _properties_of(connection, stored[0]["id"]):
        return
    log.info("This server takes no properties with annotations: adding them one by one.")
    wanted = {_key(annotation.location, annotation.terms): annotation for annotation in annotations}
    for item in stored:
        annotation = wanted.get(_key(item["location"], item.get("term") or ()))
        if annotation is not None:
            _add_properties(connection, item["id"], annotation.properties)


def _add_properties(connection: Connection, annotation: int, properties: dict[str, str]) -> None:
    path = f"domain/{ALGO_ANNOTATION}/{annotation}/property.json"
    body = {"domainClassName": ALGO_ANNOTATION, "domainIdent": annotation}
    there: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        try:
            for key in properties.keys() - there.keys():
                connection.post(path, body | {"key": key, "value": properties[key]}, what=f"the new property {key}")
            return
        except RequestFailed as error:
            if error.status in REFUSED or attempt == ATTEMPTS - 1:
                raise AnnotatorError(
                    f"Annotation {annotation} stays without its score: {error}", ExitCode.UPLOAD
                ) from error
        time.sleep(2**attempt)
        there = _properties_of(connection, annotation)


def fetch_annotations(connection: Connection, user: int, images: Sequence[ProjectImage]) -> list[StoredAnnotation]:
    """What one job has stored on some images, read back from the server."""
    found = []
    for image in images:
        for item in _layer(connection, image.id, user):
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
