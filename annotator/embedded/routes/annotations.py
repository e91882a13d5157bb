"""Annotations, their terms, and people's reviews of them."""

from typing import Any

from flask import Blueprint, Response, g, request
from shapely import wkt

from annotator.embedded import annotations, pixels
from annotator.embedded.access import annotation_of, body, found, image_of, readable_project, store, writable_project
from annotator.embedded.annotations import Refused, numbers
from annotator.embedded.answers import (
    add_all,
    as_added,
    as_json,
    as_list,
    host,
    largest,
    pixels_or_error,
    shown,
    shown_annotation,
)
from annotator.embedded.store import Object

routes = Blueprint("annotations", __name__)


def search() -> Response:
    query: dict[str, Any] = dict(request.args)
    if request.method == "POST":
        query = body() | query
    for number in numbers(query.get("image")) or numbers(query.get("images")) or []:
        image_of(number)
    if query.get("project"):
        readable_project(int(query["project"]))
    rows = annotations.search(store(), query)
    return as_list([annotations.listed(store(), row, query, host()) for row in rows])


routes.add_url_rule("/api/annotation.json", "list_annotations", search, methods=["GET"])
routes.add_url_rule("/api/annotation/search.json", "search_annotations", search, methods=["GET", "POST"])


@routes.post("/api/annotation.json")
def add_annotation() -> Response:
    def add(item: Object) -> Object:
        image = store().get("imageinstance", int(item.get("image") or 0))
        if image:
            writable_project(image["project"])
        dropped = {"no_properties": "properties", "no_terms": "term"}
        if getattr(g, "fault", None) is not None and g.fault.kind in dropped:
            item = {key: value for key, value in item.items() if key != dropped[g.fault.kind]}
        return annotations.add(store(), g.user, item)

    place = "algoannotations" if g.user["algo"] else "userannotations"
    return add_all("annotation", add, shown_annotation, place)


@routes.get("/api/annotation/<int:number>.json")
def annotation(number: int) -> Response:
    return as_json(shown_annotation(annotation_of(number)))


@routes.put("/api/annotation/<int:number>.json")
def change_annotation(number: int) -> Response:
    item = annotation_of(number)
    image = image_of(item["image"])
    location, tolerance = annotations.valid_location(body().get("location"), image["width"], image["height"])
    changed = store().update("annotation", number, location=location, geometryCompression=tolerance)
    return as_added("annotation", shown_annotation(changed))


@routes.delete("/api/annotation/<int:number>.json")
def delete_annotation(number: int) -> Response:
    item = annotation_of(number)
    if g.user["id"] != item["user"]:
        raise Refused(403, f"You don't have the right to delete annotation {number}")
    answer = as_added("annotation", shown_annotation(item))
    annotations.remove(store(), item)
    return answer


@routes.get("/api/imageinstance/<int:number>/annotation/included.json")
def included_annotations(number: int) -> Response:
    image_of(number)
    query = dict(request.args) | {"image": number}
    other = query.pop("annotation", None)
    shape = wkt.loads(annotation_of(int(other))["location"] if other else query.pop("geometry"))
    rows = annotations.search(store(), query)
    inside = [row for row in rows if wkt.loads(row["location"]).intersects(shape)]
    return as_list([annotations.listed(store(), row, query, host()) for row in inside])


@routes.post("/api/annotation/<int:number>/term/<int:term>.json")
def add_annotation_term(number: int, term: int) -> Response:
    item, content = annotation_of(number), body()
    found("term", term)
    if not g.user["algo"]:
        row = annotations.add_term(store(), g.user, item, term, rate=0.0)
        return as_added("annotationterm", shown("annotationterm", row) | {"userannotation": number})
    rate = float(content.get("rate") or 0)
    if not 0 <= rate <= 1:
        raise Refused(400, f"rate must lie in [0, 1], got {rate}")
    row = annotations.add_term(store(), g.user, item, term, rate, content.get("expectedTerm"))
    return as_added("algoannotationterm", shown("algoannotationterm", row))


@routes.get("/api/annotation/<int:number>/term.json")
def annotation_terms(number: int) -> Response:
    item = annotation_of(number)
    kind = "algoannotationterm" if item["layer"] == "algo" else "annotationterm"
    return as_list([shown(kind, row) for row in annotations.terms_of(store(), item)])


@routes.delete("/api/annotation/<int:number>/term/<int:term>.json")
def delete_annotation_term(number: int, term: int) -> Response:
    if g.user["algo"]:
        raise Refused(403, "A job may not remove terms")
    rows = [row for row in annotations.terms_of(store(), annotation_of(number)) if row["term"] == term]
    if not rows:
        raise Refused(404, f"Annotation {number} has no term {term}")
    for row in rows:
        store().remove("annotationterm", row["id"])
    return as_added("annotationterm", shown("annotationterm", rows[0]))


@routes.get(
    "/api/<any(user, algo, reviewed):layer>annotation/<int:number>/<any(crop, mask, alphamask):kind>.<extension>"
)
def annotation_crop(layer: str, number: int, kind: str, extension: str) -> Response:
    item = annotation_of(number, layer)
    if layer == "algo":  # a routing error of every classic core
        kind = {"mask": "alphamask", "alphamask": "mask"}.get(kind, kind)
    path = store().folder / image_of(item["image"])["path"]
    return pixels_or_error(lambda: pixels.crop(path, wkt.loads(item["location"]), kind, largest()), extension)


@routes.route("/api/annotation/<int:number>/review.json", methods=["POST", "DELETE"])
def review_annotation(number: int) -> Response:
    item = annotation_of(number)
    if request.method == "POST":
        terms = [int(term) for term in body().get("terms") or []]
        reviewed = annotations.review(store(), g.user, item, terms)
    else:
        copies = store().find("annotation", image=item["image"], parentIdent=number)
        if not copies:
            raise Refused(404, f"Annotation {number} is not reviewed")
        reviewed = copies[0]
        answer = as_added("reviewedannotation", shown_annotation(reviewed))
        annotations.remove(store(), reviewed)
        return answer
    return as_added("reviewedannotation", shown_annotation(reviewed))
