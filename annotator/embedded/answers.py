"""How the embedded server shows its objects: each as Cytomine does, lists and additions wrapped as it wraps them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from flask import Response, g, request
from PIL import UnidentifiedImageError

from annotator.embedded import annotations, pixels
from annotator.embedded.access import body, found, store
from annotator.embedded.annotations import Refused, Stumbled
from annotator.embedded.store import Object

CLASS_OF_KIND = {
    "user": "be.cytomine.security.User",
    "project": "be.cytomine.project.Project",
    "ontology": "be.cytomine.ontology.Ontology",
    "term": "be.cytomine.ontology.Term",
    "imageinstance": "be.cytomine.image.ImageInstance",
    "software": "be.cytomine.processing.Software",
    "softwareparameter": "be.cytomine.processing.SoftwareParameter",
    "softwareproject": "be.cytomine.processing.SoftwareProject",
    "job": "be.cytomine.processing.Job",
    "jobparameter": "be.cytomine.processing.JobParameter",
    "jobdata": "be.cytomine.processing.JobData",
    "property": "be.cytomine.meta.Property",
    "attachedfile": "be.cytomine.meta.AttachedFile",
    "tag": "be.cytomine.meta.Tag",
    "tagdomainassociation": "be.cytomine.meta.TagDomainAssociation",
    "annotationterm": "be.cytomine.ontology.AnnotationTerm",
    "algoannotationterm": "be.cytomine.ontology.AlgoAnnotationTerm",
}
KIND_OF_CLASS = {name: kind for kind, name in CLASS_OF_KIND.items()}
KIND_OF_CLASS |= dict.fromkeys(annotations.CLASSES.values(), "annotation")


def as_json(body: Mapping[str, Any], status: int = 200) -> Response:
    """An answer; nothing may keep it in a cache."""
    response = Response(json.dumps(body), status, content_type="application/json;charset=UTF-8")
    response.headers["Cache-Control"] = "no-store"
    return response


def as_list(items: list[Object]) -> Response:
    """A list as Cytomine pages it; ``max`` absent or 0 means all."""
    offset, most = int(request.args.get("offset") or 0), int(request.args.get("max") or 0)
    page = items[offset : offset + most] if most else items[offset:]
    shown = min(most, len(items)) if most else len(items)
    pages = -(-len(items) // most) if most else 1
    return as_json({"collection": page, "offset": offset, "perPage": shown, "size": len(items), "totalPages": pages})


def as_added(kind: str, shown: Object) -> Response:
    """The answer to adding, changing or deleting one object."""
    callback = {"method": f"be.cytomine.{kind}Command", f"{kind}ID": str(shown["id"])}
    return as_json({"message": f"{kind} {shown['id']} done", "callback": callback, "printMessage": True, kind: shown})


def add_all(kind: str, add: Callable[[Object], Object], show: Callable[[Object], Object], place: str) -> Response:
    """POST of one object, or of an array: then each item is added by itself, and the answer says how it went.

    It names the items that were refused, not those at which the server itself failed (ModelService.addMultiple).
    """
    content = body()
    if not isinstance(content, list):
        return as_added(kind, show(add(content)))
    rule = getattr(g, "fault", None)
    cut = {"partial": (len(content) + 1) // 2, "stumble": 0}.get(rule.kind if rule else "", len(content))
    added: list[int] = []
    errors: list[Object] = []
    for item in content[:cut]:
        try:
            added.append(add(item)["id"])
        except Refused as error:
            errors.append({"data": item, "message": str(error)})
        except Stumbled:
            continue
    names = f"{place} {','.join(map(str, added))} added"
    if len(added) == len(content):
        return as_json({"message": names})
    if not added:
        return as_json({"success": False, "message": "No entry saved", "errors": errors}, 400)
    message = f"Only part of the entries ({names.removesuffix(' added')}) added."
    return as_json({"success": False, "message": message, "errors": errors}, 206)


def host() -> str:
    """The address that the request came to, without a slash at its end."""
    return request.host_url.rstrip("/")


def shown(kind: str, item: Object) -> Object:
    """An object as every Cytomine object is shown: class, id and dates, then its own fields."""
    updated = item.get("updated")
    base = {"class": CLASS_OF_KIND[kind], "id": item["id"], "created": str(item["created"])}
    base |= {"updated": str(updated) if updated else None, "deleted": None}
    return base | {key: value for key, value in item.items() if key not in ("id", "created", "updated", "users")}


def shown_user(item: Object, with_keys: bool) -> Object:
    """A person or the user of a job."""
    answer = shown("user", item) | {"class": f"be.cytomine.security.{'UserJob' if item['algo'] else 'User'}"}
    answer |= {
        "user": item.get("user", True),
        "admin": False,
        "guest": False,
        "enabled": True,
        "language": "ENGLISH",
    }
    answer |= {"adminByNow": False, "userByNow": True, "guestByNow": False, "isSwitched": False}
    if not with_keys:
        answer = {key: value for key, value in answer.items() if key not in ("publicKey", "privateKey")}
    return answer


def shown_software(item: Object) -> Object:
    """Software with the parameters that people are asked for."""
    parameters = [
        shown("softwareparameter", parameter)
        for parameter in store().find("softwareparameter", software=item["id"])
        if not parameter["setByServer"]
    ]
    full_name = f"{item['name']} ({item['softwareVersion']})" if item["softwareVersion"] else item["name"]
    return shown("software", item) | {
        "fullName": full_name,
        "executable": bool(item["commandLine"]),
        "deprecated": False,
        "parameters": parameters,
    }


def _annotations_counted(**owner: int) -> Object:
    marks = store().find("annotation", **owner)
    counts = {layer: sum(mark["layer"] == layer for mark in marks) for layer in annotations.CLASSES}
    return {
        "numberOfAnnotations": counts["user"],
        "numberOfJobAnnotations": counts["algo"],
        "numberOfReviewedAnnotations": counts["reviewed"],
    }


def shown_project(item: Object) -> Object:
    """A project with what it holds, counted."""
    ontology = found("ontology", item["ontology"]) if item["ontology"] else {"name": None}
    images = store().find("imageinstance", project=item["id"])
    return shown("project", item) | {
        "ontologyName": ontology["name"], "blindMode": False, "numberOfImages": len(images), "isClosed": False,
        "isRestricted": False,
    } | _annotations_counted(project=item["id"])  # fmt: skip


def shown_image(item: Object) -> Object:
    """An image with its annotations, counted."""
    return shown("imageinstance", item) | {
        "baseImage": item["id"], "filename": item["instanceFilename"], "path": item["instanceFilename"],
        "contentType": "image/pyrtiff", "depth": 1, "duration": 1, "channels": 1, "extrinsicChannels": 1,
        "physicalSizeX": None, "physicalSizeY": None, "resolution": None, "magnification": None, "zoom": 6,
        "bitPerSample": 8, "samplePerPixel": 3, "colorspace": "RGB",
        "thumb": f"{host()}/api/imageinstance/{item['id']}/thumb.png?maxSize=512",
        "preview": f"{host()}/api/imageinstance/{item['id']}/thumb.png?maxSize=1024",
    } | _annotations_counted(image=item["id"])  # fmt: skip


def shown_job(item: Object, light: bool = False) -> Object:
    """A job; ``light`` leaves its parameters out."""
    software = found("software", item["software"])
    answer = shown("job", item) | {
        "algoType": "job", "softwareName": f"{software['name']} ({software['softwareVersion']})",
        "dataDeleted": item.get("dataDeleted", False), "favorite": False, "processingServer": None,
    }  # fmt: skip
    if not light:
        answer["jobParameters"] = [shown_job_parameter(row) for row in store().find("jobparameter", job=item["id"])]
    return answer


def shown_job_parameter(item: Object) -> Object:
    """A parameter of a job; keys are blotted out."""
    parameter = found("softwareparameter", item["softwareParameter"])
    value = item.get("value")
    if "key" in parameter["name"].lower() and value:
        value = "*" * len(value)
    kept = ("name", "type", "index", "uri", "uriPrintAttribut", "uriSortAttribut", "humanName")
    return shown("jobparameter", item) | {key: parameter[key] for key in kept} | {"value": value}


def shown_annotation(item: Object) -> Object:
    """An annotation with all that is known of it, as when it is asked for by itself."""
    answer = annotations.listed(store(), item, {"showMeta": "true", "showWKT": "true", "showTerm": "true"}, host())
    answer |= annotations.measures(item)
    return answer | {"created": str(item["created"]), "updated": None, "deleted": None}


def pixels_or_error(draw: Callable[[], Any], extension: str) -> Response:
    """The picture that ``draw`` gives, or what Cytomine answers where its image server fails."""
    try:
        content, kind = pixels.encoded(draw(), extension)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        return Response(f"The image server failed: {error}", 500, content_type="text/plain")
    except ValueError as error:
        raise Refused(400, str(error)) from error
    response = Response(content, content_type=kind)
    response.headers["Cache-Control"] = "no-store"
    return response


def largest() -> int | None:
    """Pixels of the longest side that the request asks for, or None."""
    return int(request.args["maxSize"]) if request.args.get("maxSize") else None
