"""A curator played by a script: looks through images in Cytomine's web page and says what is right, with the client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from cytomine import Cytomine
from cytomine.models import Annotation, AnnotationCollection
from shapely.geometry.base import BaseGeometry

from annotator.detection.boxes import intersection_over_union
from annotator.platform.geometry import flip

SAME_PLACE = 0.3  # intersection over union from which a detection shows an instrument
GOOD_SHAPE = 0.7  # and from which its shape needs no correction


@dataclass(frozen=True)
class Instrument:
    """What the curator knows to be in an image.

    Attributes:
        term: id of its term.
        shape: its outline, in pixels of the image, top-left origin.
    """

    term: int
    shape: BaseGeometry


def look_through(
    access: Any, project: int, job_user: int, images: Mapping[int, tuple[int, Sequence[Instrument]]]
) -> dict[str, int]:
    """Review what a job found in some images: accept, correct or leave it, draw what is missing, end the review.

    Args:
        access: host and keys of the curator.
        project: id.
        job_user: id of the job's user.
        images: for each image's id its height in pixels and what is in it.

    Returns:
        How many annotations were accepted, corrected, rejected and drawn.
    """
    counts = {"accepted": 0, "corrected": 0, "rejected": 0, "drawn": 0}
    with Cytomine(access.host, access.public_key, access.private_key, verbose=50, configure_logging=False) as client:
        found = AnnotationCollection(project=project, user=job_user, showWKT=True, showTerm=True).fetch()
        for image, (height, truths) in images.items():
            own = [item for item in found if item.image == image]
            _checked(client.post(f"imageinstance/{image}/review.json", "{}"))
            for kind in _review(client, project, image, height, own, truths):
                counts[kind] += 1
            _checked(client.delete(f"imageinstance/{image}/review.json"))
    return counts


def _review(
    client: Cytomine, project: int, image: int, height: int, own: Sequence[Any], truths: Sequence[Instrument]
) -> list[str]:
    said = []
    left = list(range(len(truths)))
    for item in own:
        shape = flip(shapely.from_wkt(item.location), height)
        overlaps = {number: _overlap(shape, truths[number].shape) for number in left}
        best = max(overlaps, key=lambda number: overlaps[number], default=None)
        if best is None or overlaps[best] < SAME_PLACE:
            said.append("rejected")
            continue
        left.remove(best)
        truth = truths[best]
        copy = _checked(client.post(f"annotation/{item.id}/review.json", json.dumps({"terms": [truth.term]})))
        good_shape = overlaps[best] >= GOOD_SHAPE
        if not good_shape:
            location = flip(truth.shape, height).wkt
            number = copy["reviewedannotation"]["id"]
            _checked(client.put(f"annotation/{number}.json", json.dumps({"id": number, "location": location})))
        said.append("accepted" if good_shape and item.term == [truth.term] else "corrected")
    for number in left:
        truth = truths[number]
        drawn = Annotation(
            location=flip(truth.shape, height).wkt, id_image=image, id_project=project, id_terms=[truth.term]
        ).save()
        _checked(client.post(f"annotation/{_checked(drawn).id}/review.json", json.dumps({"terms": [truth.term]})))
        said.append("drawn")
    return said


def _overlap(one: BaseGeometry, other: BaseGeometry) -> float:
    """Intersection over union of the boxes around two shapes, for the truth is known as boxes."""
    return float(intersection_over_union(np.array(one.bounds), np.array(other.bounds)))


def _checked(answer: Any) -> Any:
    if answer is False:
        raise RuntimeError("the server refused what the curator did")
    return answer
