"""What hangs on other objects: properties, tags, files, data of jobs."""

from pathlib import PurePosixPath, PureWindowsPath

from flask import Blueprint, Response, g, request, send_file

from annotator.embedded import annotations
from annotator.embedded.access import annotation_of, body, found, job_of, store
from annotator.embedded.annotations import Refused, Stumbled
from annotator.embedded.answers import KIND_OF_CLASS, add_all, as_added, as_json, as_list, shown
from annotator.embedded.store import Object

routes = Blueprint("attachments", __name__)


USER_ANNOTATION = annotations.CLASSES["user"]


def kind_of(class_name: str, number: int) -> str:
    """The kind of an object that others hang on, once it is sure that there is one, or 400, 403, 404."""
    kind = KIND_OF_CLASS.get(class_name)
    if kind is None:
        raise Refused(400, f"Unknown class {class_name}")
    if kind == "annotation":
        annotation_of(number)
    else:
        found(kind, number)
    return kind


def shown_property(row: Object, class_name: str) -> Object:
    return shown("property", row) | {"domainClassName": class_name}


@routes.get("/api/annotation/<int:number>/property.json")
@routes.get("/api/domain/<class_name>/<int:number>/property.json")
def properties(number: int, class_name: str = USER_ANNOTATION) -> Response:
    rows = store().find("property", ownerKind=kind_of(class_name, number), domainIdent=number)
    return as_list([shown_property(row, class_name) for row in rows])


@routes.post("/api/annotation/<int:number>/property.json")
@routes.post("/api/domain/<class_name>/<int:number>/property.json")
def add_property(number: int, class_name: str = USER_ANNOTATION) -> Response:
    kind = kind_of(class_name, number)

    def add(item: Object) -> Object:
        key, value = str(item["key"]), str(item["value"])
        if store().find("property", ownerKind=kind, domainIdent=number, key=key, value=value):
            raise Refused(409, f"Property {number}-{key} already exist!")  # another value is taken too
        return annotations.add_property(store(), kind, number, key, value)

    return add_all("property", add, lambda row: shown_property(row, class_name), "properties")


@routes.get("/api/annotation/<int:number>/key/<key>/property.json")
@routes.get("/api/domain/<class_name>/<int:number>/key/<key>/property.json")
def property_by_key(number: int, key: str, class_name: str = USER_ANNOTATION) -> Response:
    rows = store().find("property", ownerKind=kind_of(class_name, number), domainIdent=number, key=key)
    if not rows:
        raise Refused(404, f"No property {key}")
    return as_json(shown_property(rows[0], class_name))


@routes.route("/api/annotation/<int:number>/property/<int:row>.json", methods=["GET", "PUT", "DELETE"])
@routes.route("/api/domain/<class_name>/<int:number>/property/<int:row>.json", methods=["GET", "PUT", "DELETE"])
def property_by_id(number: int, row: int, class_name: str = USER_ANNOTATION) -> Response:
    kind_of(class_name, number)
    item = found("property", row)
    if request.method == "GET":
        return as_json(shown_property(item, class_name))
    if request.method == "DELETE":
        store().remove("property", row)
    else:
        item = store().update("property", row, key=body()["key"], value=str(body()["value"]))
    return as_added("property", shown_property(item, class_name))


@routes.route("/api/tag.json", methods=["GET", "POST"])
def tags() -> Response:
    if request.method == "GET":
        return as_list([shown("tag", row) for row in store().find("tag")])
    name = body()["name"]
    if g.user["algo"]:  # the core looks for its creator among people (Tag.insertDataIntoDomain)
        raise Refused(400, f"user was not found with id:{g.user['id']}")
    if any(tag["name"].lower() == name.lower() for tag in store().find("tag")):
        raise Refused(409, f"Tag {name} already exist!")
    return as_added("tag", shown("tag", store().add("tag", name=name, user=g.user["id"])))


@routes.route("/api/domain/<class_name>/<int:number>/tag_domain_association.json", methods=["GET", "POST"])
def tag_associations(class_name: str, number: int) -> Response:
    kind = kind_of(class_name, number)
    if request.method == "POST":
        content = body()
        if content.get("domainClassName") != class_name or content.get("domainIdent") != number:
            raise Stumbled  # the core reads them from the body alone (TagDomainAssociationService.add)
        tag = found("tag", int(content["tag"]))
        if store().find("tagdomainassociation", ownerKind=kind, domainIdent=number, tag=tag["id"]):
            raise Refused(409, f"TagDomainAssociation {tag['name']} already exist!")
        row = store().add(
            "tagdomainassociation", tag=tag["id"], tagName=tag["name"], ownerKind=kind, domainIdent=number
        )
        return as_added("tagdomainassociation", shown("tagdomainassociation", row))
    rows = store().find("tagdomainassociation", ownerKind=kind, domainIdent=number)
    return as_list([shown("tagdomainassociation", row) for row in rows])


@routes.delete("/api/tag_domain_association/<int:number>.json")
def remove_tag(number: int) -> Response:
    row = found("tagdomainassociation", number)
    store().remove("tagdomainassociation", number)
    return as_added("tagdomainassociation", shown("tagdomainassociation", row))


def uploaded() -> tuple[str, bytes]:
    """The file of a multipart request. Clients send their local path as its name: only its last part counts."""
    file = request.files.get("files[]")
    if file is None:
        raise Refused(400, "No file in the request (field files[])")
    name = request.args.get("filename") or file.filename or "file"
    return PureWindowsPath(PurePosixPath(name).name).name or "file", file.read()


def shown_attached_file(row: Object) -> Object:
    class_of = {kind: name for name, kind in KIND_OF_CLASS.items()}
    names = {"domainClassName": class_of[row["ownerKind"]], "url": f"/api/attachedfile/{row['id']}/download"}
    return {key: value for key, value in shown("attachedfile", row).items() if key != "stored"} | names


@routes.post("/api/attachedfile.json")
def add_attached_file() -> Response:
    number = int(request.args["domainIdent"])
    kind = kind_of(request.args["domainClassName"], number)
    name, content = uploaded()
    stored = store().add_file(content)
    row = store().add("attachedfile", ownerKind=kind, domainIdent=number, filename=name, stored=stored)
    return as_json(shown_attached_file(row))


@routes.get("/api/domain/<class_name>/<int:number>/attachedfile.json")
def attached_files(class_name: str, number: int) -> Response:
    kind = kind_of(class_name, number)
    rows = store().find("attachedfile", ownerKind=kind, domainIdent=number)
    return as_list([shown_attached_file(row) for row in rows])


@routes.route("/api/attachedfile/<int:number>.json", methods=["GET", "DELETE"])
def attached_file(number: int) -> Response:
    row = found("attachedfile", number)
    if request.method == "GET":
        return as_json(shown_attached_file(row))
    store().remove("attachedfile", number)
    return as_added("attachedfile", shown_attached_file(row))


def shown_job_data(row: Object) -> Object:
    return {key: value for key, value in shown("jobdata", row).items() if key != "stored"}


@routes.post("/api/jobdata.json")
def add_job_data() -> Response:
    content = body()
    job = job_of(int(content["job"]))
    row = store().add(
        "jobdata", job=job["id"], key=content["key"], filename=content["filename"], size=None, stored=None
    )
    return as_added("jobdata", shown_job_data(row))


@routes.post("/api/jobdata/<int:number>/upload")
def upload_job_data(number: int) -> Response:
    found("jobdata", number)
    name, content = uploaded()
    row = store().update("jobdata", number, filename=name, size=len(content), stored=store().add_file(content))
    return as_json(shown_job_data(row))


@routes.get("/api/job/<int:number>/jobdata.json")
def job_data(number: int) -> Response:
    return as_list([shown_job_data(row) for row in store().find("jobdata", job=job_of(number)["id"])])


@routes.get("/api/<any(jobdata, attachedfile):kind>/<int:number>/<any(download, view):_>")
def download_file(kind: str, number: int, _: str) -> Response:
    row = found(kind, number)
    if row["stored"] is None:
        raise Refused(404, f"Nothing was uploaded to {kind} {number}")
    return send_file(
        store().file(row["stored"]), mimetype="application/octet-stream", as_attachment=True,
        download_name=row["filename"], max_age=0,
    )  # fmt: skip
