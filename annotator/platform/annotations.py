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
from annotator.platform.connection import Connection, Json, RequestFailed
from annotator.platform.geometry import from_location
from annotator.platform.images import ProjectImage

log = logging.getLogger(__name__)

CHUNK = 100  # annotations in one request
ATTEMPTS = 4
REFUSED = (400, 403, 404, 409, 413)  # trying the same again would change nothing


@dataclass(frozen=True)
class NewAnnotation:
    """An annotation to store.

    Attributes:
        location: WKT in Cytomine's frame, as `geometry.to_location` makes it.
        terms: ids; may be empty.
        properties: key and value pairs, shown beside the annotation.
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


def upload(connection: Connection, image: ProjectImage, user: int, annotations: Sequence[NewAnnotation]) -> int:
    """Store the annotations of one image: all of them, none twice.

    The server takes an array item by item and may store a part of it, or store it and lose its answer. So after any
    answer but a plain yes the job's own layer is read back, and only what it lacks is sent again.

    Args:
        connection: as the job.
        image: which.
        user: id of the job's user; its layer on this image must hold nothing but these annotations.
        annotations: to store.

    Returns:
        How many of them the layer holds.

    Raises:
        AnnotatorError: (UPLOAD) some could not be stored; those that were stay.
    """
    waiting, reason = list(annotations), ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2 ** (attempt - 1))
            stored = _layer(connection, image.id, user)
            waiting = _lacking(annotations, stored)
        if not waiting:
            break
        reason = ""
        final = False
        for start in range(0, len(waiting), CHUNK):
            failed, refused = _send(connection, image, waiting[start : start + CHUNK])
            reason, final = failed or reason, final or refused
        if not reason or final:
            break
    if reason:
        waiting = _lacking(annotations, _layer(connection, image.id, user))
        if waiting:
            raise AnnotatorError(
                f"{image.name}: {len(waiting)} of {len(annotations)} annotations were not stored: {reason}",
                ExitCode.UPLOAD,
            )
    if annotations:
        _complete_properties(connection, image.id, user, annotations)
    return len(annotations)


def _send(connection: Connection, image: ProjectImage, annotations: Sequence[NewAnnotation]) -> tuple[str, bool]:
    """Post one array. Returns why it failed, empty if it did not, and whether another try would be in vain."""
    body = [
        {
            "location": annotation.location,
            "image": image.id,
            "term": list(annotation.terms),
            "properties": [{"key": key, "value": value} for key, value in annotation.properties.items()],
        }
        for annotation in annotations
    ]
    what = f"storing {len(body)} annotations on {image.name}"
    try:
        answer = connection.post("annotation.json", body, what=what, accept=(200, 206, 400))
    except RequestFailed as error:
        return str(error), error.status in REFUSED
    errors = answer.get("errors") or []
    if answer.get("success", True) and not errors:
        return "", False
    first = errors[0] if isinstance(errors, list) and errors else answer
    return str(first.get("message", first) if isinstance(first, dict) else first)[:200], False


def _key(location: str, terms: Sequence[int]) -> tuple[Any, ...]:
    shape = shapely.normalize(shapely.set_precision(shapely.from_wkt(location), 0.01))
    return shape.wkb, tuple(sorted(terms))


def _layer(connection: Connection, image: int, user: int) -> list[Json]:
    query = {"user": user, "image": image, "showWKT": True, "showTerm": True, "showMeta": True, "max": 0, "offset": 0}
    return connection.items("annotation.json", query, what=f"annotations on image {image}")


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
    path = f"domain/be.cytomine.ontology.AlgoAnnotation/{annotation}/property.json"
    rows = connection.items(path, what=f"properties of annotation {annotation}")
    return {row["key"]: row["value"] for row in rows}


def _complete_properties(connection: Connection, image: int, user: int, annotations: Sequence[NewAnnotation]) -> None:
    """Core 3.0 drops properties that come with an annotation. Then they are added one by one."""
    stored = _layer(connection, image, user)
    if not stored or not annotations[0].properties or _properties_of(connection, stored[0]["id"]):
        return
    log.info("This server takes no properties with annotations: adding them one by one.")
    waiting = {_key(annotation.location, annotation.terms): annotation for annotation in annotations}
    for item in stored:
        annotation = waiting.get(_key(item["location"], item.get("term") or ()))
        if annotation is None:
            continue
        path = f"domain/be.cytomine.ontology.AlgoAnnotation/{item['id']}/property.json"
        for key, value in annotation.properties.items():
            body = {"domainClassName": "be.cytomine.ontology.AlgoAnnotation", "domainIdent": item["id"]}
            connection.post(path, body | {"key": key, "value": value}, what=f"property {key}")


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
