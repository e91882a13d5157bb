"""Annotations on the embedded server: adding, searching, reviewing, by the rules of the core 3.1 and 3.2.

Locations are WKT in Cytomine's frame: pixels of the full-resolution image, origin at the bottom-left, y up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import shapely
from shapely import wkt
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from annotator.embedded.store import Object, Store

CLASSES = {layer: f"be.cytomine.ontology.{layer.title()}Annotation" for layer in ("user", "algo", "reviewed")}
MOST_POINTS = 200


class Refused(Exception):
    """A request that the server does not carry out.

    Args:
        status: HTTP status.
        message: what the answer says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Stumbled(Exception):
    """A request at which the server itself fails: it answers 500, and of an item of an array it says nothing."""


def valid_location(text: str | None, width: int, height: int) -> tuple[str, float]:
    """The geometry that is stored for a location, and the tolerance of its simplification in pixels.

    It must be valid WKT; what exceeds the image is cut off; more than 200 points are simplified.
    """
    if not text:
        raise Refused(400, "Annotation must have a valid geometry: null")
    try:
        shape = wkt.loads(text)
    except shapely.errors.GEOSException as error:
        raise Refused(400, "Annotation location is not valid") from error
    if not shape.is_valid:
        raise Refused(400, "Annotation location is not valid")
    frame = box(0, 0, width, height)
    if not frame.covers(shape):
        shape = shape.intersection(frame)
    if shape.is_empty:
        raise Refused(400, f"{text[:80]} is an empty geometry!")
    if shape.geom_type not in ("Polygon", "MultiPolygon", "Point", "LineString"):
        raise Refused(400, f"{shape.geom_type} is not a valid geometry type")
    tolerance, simple = 0.0, shape
    while shapely.get_num_coordinates(simple) > MOST_POINTS and tolerance < 1000:
        tolerance += 0.25
        simple = shape.simplify(tolerance)
    return wkt.dumps(simple, trim=True), tolerance


def add(store: Store, user: Object, body: Mapping[str, Any]) -> Object:
    """Store one annotation as ``user``: of a job it goes to the algo layer, of a person to the user layer."""
    image = store.get("imageinstance", int(body.get("image") or 0))
    if image is None:
        raise Refused(400, f"Image {body.get('image')} not found")
    project = store.get("project", image["project"]) or {}
    location, tolerance = valid_location(body.get("location"), image["width"], image["height"])
    terms = [int(term) for term in (body.get("term") or []) + (body.get("terms") or [])]
    for term in terms:
        found = store.get("term", term)
        if found is None or found["ontology"] != project["ontology"]:
            raise Refused(400, f"Term {term} is not in the ontology of the project")
    properties = [_inline(item) for item in (body.get("properties") or []) + (body.get("property") or [])]
    annotation = store.add(
        "annotation", layer="algo" if user["algo"] else "user", location=location, geometryCompression=tolerance,
        image=image["id"], project=image["project"], user=user["id"],
    )  # fmt: skip
    for term in terms:
        add_term(store, user, annotation, term, rate=0.0)
    for item in properties:
        add_property(store, "annotation", annotation["id"], item["key"], item["value"])
    return annotation


def _inline(item: Mapping[str, Any]) -> Object:
    """A property that comes with its annotation: the core puts it into JSON as it is (PropertyService.addProperty)."""
    try:
        return json.loads(f'{{"key": "{item["key"]}", "value": "{item["value"]}"}}')
    except json.JSONDecodeError as error:
        raise Stumbled from error


def add_term(
    store: Store, user: Object, annotation: Object, term: int, rate: float, expected: int | None = None
) -> Object:
    """Put a term on an annotation."""
    return store.add(
        "annotationterm", annotation=annotation["id"], annotationIdent=annotation["id"], project=annotation["project"],
        annotationClassName=CLASSES[annotation["layer"]], term=term, rate=rate, expectedTerm=expected, user=user["id"],
    )  # fmt: skip


def add_property(store: Store, owner_kind: str, owner: int, key: str, value: object) -> Object:
    """Attach a key and a value to any object. Values are text."""
    return store.add("property", ownerKind=owner_kind, domainIdent=owner, key=str(key), value=str(value))


def numbers(text: object) -> list[int] | None:
    """A list of ids as queries write it, joined by commas or underscores; None where there is none."""
    parts = [part for part in str(text or "").replace("_", ",").split(",") if part]
    return [int(part) for part in parts] if parts else None


def truthy(value: object) -> bool:
    """What the core takes for true in a query."""
    return str(value).lower() == "true"


def search(store: Store, query: Mapping[str, Any]) -> list[Object]:
    """The annotations that a query asks for, newest first (RestAnnotationDomainController.doSearch)."""
    images = numbers(query.get("image")) or numbers(query.get("images"))
    projects = numbers(query.get("project"))
    if images:
        candidates = [annotation for image in images for annotation in store.find("annotation", image=image)]
    elif projects:
        candidates = store.find("annotation", project=projects[0])
    else:
        raise Refused(400, "At least one of project, image(s) or slice(s) is required")

    users = numbers(query.get("user")) or numbers(query.get("users")) or []
    if query.get("job"):  # the core filters by the job's user, but does not switch to the algo layer
        users.append(((store.get("job", int(query["job"])) or {}).get("userJob")) or -1)
    asks_for_jobs = any((store.get("user", user) or {}).get("algo") for user in users) and not query.get("job")
    if truthy(query.get("reviewed")):
        layers = ["reviewed"]
    elif truthy(query.get("includeAlgo")) or asks_for_jobs:
        layers = ["algo", "user"]
    else:
        layers = ["user"]

    terms = numbers(query.get("terms"))
    if terms is None and str(query.get("term") or "").isdigit():  # term=1,2 is no number, so no filter at all
        terms = [int(str(query["term"]))]
    bounds = _bounding_box(query.get("bbox"))
    chosen = []
    for layer in layers:
        for annotation in sorted(candidates, key=lambda annotation: -annotation["id"]):
            term_ids = {row["term"] for row in terms_of(store, annotation)}
            without_term = truthy(query.get("noTerm")) and not term_ids
            wrong_term = (terms is not None or truthy(query.get("noTerm"))) and not (
                term_ids & set(terms or []) or without_term
            )
            if (
                annotation["layer"] != layer
                or (users and annotation["user"] not in users)
                or wrong_term
                or (truthy(query.get("notReviewedOnly")) and review_count(store, annotation))
                or (truthy(query.get("multipleTerm")) and len(term_ids) < 2)
                or (query.get("afterThan") and annotation["created"] <= int(query["afterThan"]))
                or (query.get("beforeThan") and annotation["created"] >= int(query["beforeThan"]))
                or (bounds is not None and not wkt.loads(annotation["location"]).intersects(bounds))
            ):
                continue
            chosen.append(annotation)
    return chosen


def _bounding_box(text: object) -> BaseGeometry | None:
    if not text:
        return None
    if "POLYGON" in str(text):
        return wkt.loads(str(text))
    return box(*(float(part) for part in str(text).split(",")))


def terms_of(store: Store, annotation: Object) -> list[Object]:
    """The rows that put terms on an annotation."""
    return store.find("annotationterm", annotation=annotation["id"])


def review_count(store: Store, annotation: Object) -> int:
    """How many validated copies of an annotation there are."""
    return len(store.find("annotation", image=annotation["image"], parentIdent=annotation["id"]))


def listed(store: Store, annotation: Object, query: Mapping[str, Any], host: str) -> Object:
    """One annotation as a search lists it: only the groups of fields that were asked for (AnnotationListing)."""
    asked = {key[4:] for key, value in query.items() if key.startswith("show") and truthy(value)}
    if not asked or "Default" in asked:
        asked |= {"Basic", "Meta", "Term"}
    asked -= {key[4:] for key, value in query.items() if key.startswith("hide") and truthy(value)}
    answer: Object = {"class": CLASSES[annotation["layer"]], "id": annotation["id"]}
    if "Meta" in asked:
        path = f"{host}/api/{annotation['layer']}annotation/{annotation['id']}/crop.png"
        answer |= {
            "created": annotation["created"],
            "updated": annotation.get("updated"),
            "image": annotation["image"],
            "project": annotation["project"],
            "slice": annotation["image"],
            "user": annotation["user"],
            "nbComments": 0,
            "countReviewedAnnotations": review_count(store, annotation),
            "reviewed": annotation["layer"] == "reviewed",
            "cropURL": path,
            "smallCropURL": f"{path}?maxSize=256",
            "url": path,
            "imageURL": f"{host}/#/project/{annotation['project']}/image/{annotation['image']}",
        }
        if annotation["layer"] == "reviewed":
            answer |= {"reviewUser": annotation["reviewUser"], "parentIdent": annotation["parentIdent"]}
    if "WKT" in asked:
        answer |= {key: annotation[key] for key in ("location", "geometryCompression")}
    if "GIS" in asked:
        answer |= measures(annotation)
    if "Term" in asked:
        rows = terms_of(store, annotation)
        answer["term"] = [row["term"] for row in rows]
        answer["userByTerm"] = [{"id": row["id"], "term": row["term"], "user": [row["user"]]} for row in rows]
        if annotation["layer"] == "algo" and rows:
            answer["rate"] = rows[0]["rate"]
    if "Image" in asked:
        image = store.get("imageinstance", annotation["image"]) or {}
        answer |= {key: image.get(key) for key in ("originalFilename", "instanceFilename")}
    if "User" in asked:
        user = store.get("user", annotation["user"]) or {}
        answer["creator"] = user.get("username")
        if user.get("algo"):
            job = store.get("job", user["job"]) or {}
            answer |= {"software": job.get("software"), "job": user["job"]}
    return answer


def measures(annotation: Object) -> Object:
    """Area, perimeter (pixels) and centroid of an annotation."""
    shape = wkt.loads(annotation["location"])
    centroid = {"x": shape.centroid.x, "y": shape.centroid.y}
    return {
        "area": shape.area,
        "areaUnit": "pixels²",
        "perimeter": shape.length,
        "perimeterUnit": "pixels",
        "centroid": centroid,
    }


def review(store: Store, reviewer: Object, annotation: Object, terms: list[int]) -> Object:
    """Validate an annotation: a copy goes to the reviewed layer, the original stays."""
    image = store.get("imageinstance", annotation["image"]) or {}
    if image["reviewUser"] != reviewer["id"]:
        raise Refused(400, "Image is not in review mode by this user")
    if store.find("annotation", image=annotation["image"], parentIdent=annotation["id"]):
        raise Refused(409, f"Annotation {annotation['id']} is already reviewed")
    copy = {key: annotation[key] for key in ("location", "geometryCompression", "image", "project", "user")}
    reviewed = store.add(
        "annotation", **copy, layer="reviewed", parentIdent=annotation["id"],
        parentClassName=CLASSES[annotation["layer"]], reviewUser=reviewer["id"], status=0,
    )  # fmt: skip
    for term in terms or [row["term"] for row in terms_of(store, annotation)]:
        add_term(store, reviewer, reviewed, term, rate=0.0)
    return reviewed


def remove(store: Store, annotation: Object) -> None:
    """Delete an annotation with its terms and properties."""
    for row in terms_of(store, annotation):
        store.remove("annotationterm", row["id"])
    for row in store.find("property", ownerKind="annotation", domainIdent=annotation["id"]):
        store.remove("property", row["id"])
    store.remove("annotation", annotation["id"])
