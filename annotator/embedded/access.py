"""What a request asks for, and whether who sent it may have it."""

from __future__ import annotations

import json
from typing import Any

from flask import current_app, g, request

from annotator.embedded.annotations import Refused
from annotator.embedded.store import Object, Store


def store() -> Store:
    """The store of the server that answers."""
    held: Store = current_app.extensions["store"]
    return held


def person() -> int:
    """The human behind the request; a job has the rights of whoever launched it."""
    return int(g.user["user"] if g.user["algo"] else g.user["id"])


def found(kind: str, number: int) -> Object:
    """An object of the store, or 404."""
    item = store().get(kind, number)
    if item is None:
        raise Refused(404, f"{kind} not found with id : {number}")
    return item


def readable_project(number: int) -> Object:
    """A project that the person behind the request is a member of, or 403."""
    project = found("project", number)
    if person() not in project["users"]:
        raise Refused(403, f"You don't have the right to read this project: {number}")
    return project


def writable_project(number: int) -> Object:
    """A project that may be changed, or 403."""
    project = readable_project(number)
    if project["isReadOnly"]:
        raise Refused(403, f"The project {number} is read-only")
    return project


def _of_readable_project(kind: str, number: int) -> Object:
    item = found(kind, number)
    readable_project(item["project"])
    return item


def image_of(number: int) -> Object:
    """An image of a readable project."""
    return _of_readable_project("imageinstance", number)


def annotation_of(number: int, layer: str | None = None) -> Object:
    """An annotation of a readable project, of the named layer where one is named."""
    annotation = _of_readable_project("annotation", number)
    if layer and annotation["layer"] != layer:
        raise Refused(404, f"{layer}annotation not found with id : {number}")
    return annotation


def job_of(number: int) -> Object:
    """A job of a readable project."""
    return _of_readable_project("job", number)


def body() -> Any:
    """The JSON that the request carries, or 400."""
    try:
        return json.loads(request.get_data() or b"{}")
    except json.JSONDecodeError as error:
        raise Refused(400, f"The body is no JSON: {error}") from error
