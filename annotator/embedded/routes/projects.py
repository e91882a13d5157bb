"""Projects, and the software in them."""

from flask import Blueprint, Response, request

from annotator.embedded.access import body, found, person, readable_project, store
from annotator.embedded.annotations import truthy
from annotator.embedded.answers import as_added, as_json, as_list, shown, shown_project, shown_software
from annotator.embedded.store import Object

routes = Blueprint("projects", __name__)


@routes.get("/api/project.json")
def projects() -> Response:
    return as_list([shown_project(item) for item in store().find("project") if person() in item["users"]])


@routes.post("/api/project.json")
def add_project() -> Response:
    content = body()
    ontology = found("ontology", int(content["ontology"]))
    project = store().add("project", name=content["name"], ontology=ontology["id"], users=[person()], isReadOnly=False)
    return as_added("project", shown_project(project))


@routes.get("/api/project/<int:number>.json")
def project(number: int) -> Response:
    return as_json(shown_project(readable_project(number)))


@routes.get("/api/software.json")
def all_software() -> Response:
    return as_list([shown_software(item) for item in store().find("software")])


@routes.post("/api/software.json")
def add_software() -> Response:
    item = store().add("software", name=body()["name"], softwareVersion=None, commandLine="")
    return as_added("software", shown_software(item))


@routes.post("/api/softwareproject.json")
def add_software_project() -> Response:
    content = body()
    project, software = readable_project(int(content["project"])), found("software", int(content["software"]))
    row = store().add("softwareproject", software=software["id"], project=project["id"])
    return as_added("softwareproject", shown("softwareproject", row))


@routes.get("/api/project/<int:number>/software.json")
def project_software(number: int) -> Response:
    readable_project(number)
    rows = store().find("softwareproject", project=number)
    return as_list([shown_software(found("software", row["software"])) for row in rows])


@routes.get("/api/project/<int:number>/softwareproject.json")
def software_projects(number: int) -> Response:
    readable_project(number)
    return as_list([shown("softwareproject", row) for row in store().find("softwareproject", project=number)])


@routes.get("/api/software/<int:number>.json")
def software(number: int) -> Response:
    return as_json(shown_software(found("software", number)))


@routes.get("/api/software/<int:number>/<any(software_parameter, parameter):_>.json")
def software_parameters(number: int, _: str) -> Response:
    everything = truthy(request.args.get("withSetByServer"))
    rows = store().find("softwareparameter", software=found("software", number)["id"])
    return as_list([shown("softwareparameter", row) for row in rows if everything or not row["setByServer"]])


def parameter_fields(content: Object) -> Object:
    texts = ("uri", "uriPrintAttribut", "uriSortAttribut", "humanName", "valueKey", "commandLineFlag")
    flags = ("required", "setByServer", "serverParameter")
    default = content.get("defaultParamValue")
    return (
        {"name": content["name"], "type": content["type"], "index": int(content.get("index") or 0)}
        | {key: content.get(key) for key in texts}
        | {key: bool(content.get(key)) for key in flags}
        | {"defaultParamValue": None if default in (None, "") else str(default)}
    )


@routes.post("/api/<any(software_parameter, softwareparameter):_>.json")
def add_software_parameter(_: str) -> Response:
    content = body()
    software = found("software", int(content["software"]))
    row = store().add("softwareparameter", software=software["id"], **parameter_fields(content))
    return as_added("softwareparameter", shown("softwareparameter", row))


@routes.route("/api/<any(software_parameter, softwareparameter):_>/<int:number>.json", methods=["GET", "PUT", "DELETE"])
def software_parameter(_: str, number: int) -> Response:
    row = found("softwareparameter", number)
    if request.method == "GET":
        return as_json(shown("softwareparameter", row))
    if request.method == "PUT":
        row = store().update("softwareparameter", number, **parameter_fields(body()))
    else:
        store().remove("softwareparameter", number)
    return as_added("softwareparameter", shown("softwareparameter", row))
