"""The embedded server: the part of Cytomine's REST interface (official core 3.1 and 3.2) that apps and people need.

Every answer is a JSON object; lists are wrapped as Cytomine wraps them. Requests are signed as its clients sign them.
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from flask import Flask, Response, g, request, send_file
from PIL import UnidentifiedImageError
from shapely import wkt

from annotator.embedded import annotations, pixels, seed
from annotator.embedded.annotations import Refused, numbers, truthy
from annotator.embedded.faults import Faults, broken
from annotator.embedded.signature import public_key_and_signature, signature
from annotator.embedded.store import Object, Store

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
OPEN_PATHS = ("/server/ping", "/session/admin/open.json", "/session/admin/close.json")  # signed wrongly by the client


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


def create_app(store: Store, allow_faults: bool = False) -> Flask:
    """The server as a WSGI application.

    Args:
        store: where its objects are.
        allow_faults: whether ``POST /embedded/faults`` may set failures (for tests).
    """
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    faults = Faults()

    # --- who asks, and may they ----------------------------------------------------------------------------------

    @app.before_request
    def authenticate() -> Response | None:
        if request.path in OPEN_PATHS or not request.path.startswith("/api/"):
            return None
        parts = public_key_and_signature(request.headers.get("authorization", ""))
        users = store.find("user", publicKey=parts[0]) if parts else []
        if parts and not users:
            return Response("Unauthorized", 401, content_type="text/html")
        headers = {key.lower(): value for key, value in request.headers.items()}
        target = request.environ["REQUEST_URI"]
        if not parts or signature(users[0]["privateKey"], request.method, headers, target) != parts[1]:
            return Response("", 302, headers={"Location": "/"})
        g.user = users[0]
        return None

    @app.errorhandler(Refused)
    def refuse(error: Refused) -> Response:
        return as_json({"success": False, "errors": str(error)}, error.status)

    @app.errorhandler(404)
    def unknown_path(error: Exception) -> Response:
        return as_json({"errors": {"message": f"No such path: {request.path}"}}, 404)

    def person() -> int:
        """The human behind the request; a job has the rights of whoever launched it."""
        return int(g.user["user"] if g.user["algo"] else g.user["id"])

    def found(kind: str, number: int) -> Object:
        item = store.get(kind, number)
        if item is None:
            raise Refused(404, f"{kind} not found with id : {number}")
        return item

    def readable_project(number: int) -> Object:
        project = found("project", number)
        if person() not in project["users"]:
            raise Refused(403, f"You don't have the right to read this project: {number}")
        return project

    def writable_project(number: int) -> Object:
        project = readable_project(number)
        if project["isReadOnly"]:
            raise Refused(403, f"The project {number} is read-only")
        return project

    def image_of(number: int) -> Object:
        image = found("imageinstance", number)
        readable_project(image["project"])
        return image

    def annotation_of(number: int, layer: str | None = None) -> Object:
        annotation = found("annotation", number)
        readable_project(annotation["project"])
        if layer and annotation["layer"] != layer:
            raise Refused(404, f"{layer}annotation not found with id : {number}")
        return annotation

    def job_of(number: int) -> Object:
        job = found("job", number)
        readable_project(job["project"])
        return job

    # --- how objects are shown -----------------------------------------------------------------------------------

    def host() -> str:
        return request.host_url.rstrip("/")

    def shown(kind: str, item: Object) -> Object:
        updated = item.get("updated")
        base = {"class": CLASS_OF_KIND[kind], "id": item["id"], "created": str(item["created"])}
        base |= {"updated": str(updated) if updated else None, "deleted": None}
        return base | {key: value for key, value in item.items() if key not in ("id", "created", "updated", "users")}

    def shown_user(item: Object, with_keys: bool) -> Object:
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
        parameters = [
            shown("softwareparameter", parameter)
            for parameter in store.find("softwareparameter", software=item["id"])
            if not parameter["setByServer"]
        ]
        full_name = f"{item['name']} ({item['softwareVersion']})" if item["softwareVersion"] else item["name"]
        return shown("software", item) | {
            "fullName": full_name,
            "executable": bool(item["commandLine"]),
            "deprecated": False,
            "parameters": parameters,
        }

    def shown_project(item: Object) -> Object:
        ontology = found("ontology", item["ontology"])
        images = store.find("imageinstance", project=item["id"])
        marks = store.find("annotation", project=item["id"])
        counts = {layer: sum(mark["layer"] == layer for mark in marks) for layer in annotations.CLASSES}
        return shown("project", item) | {
            "ontologyName": ontology["name"], "blindMode": False, "numberOfImages": len(images), "isClosed": False,
            "numberOfAnnotations": counts["user"], "numberOfJobAnnotations": counts["algo"],
            "numberOfReviewedAnnotations": counts["reviewed"], "isRestricted": False,
        }  # fmt: skip

    def shown_image(item: Object) -> Object:
        marks = store.find("annotation", image=item["id"])
        counts = {layer: sum(mark["layer"] == layer for mark in marks) for layer in annotations.CLASSES}
        answer = shown("imageinstance", item) | {
            "baseImage": item["id"], "filename": item["instanceFilename"], "path": item["instanceFilename"],
            "contentType": "image/pyrtiff", "depth": 1, "duration": 1, "channels": 1, "extrinsicChannels": 1,
            "physicalSizeX": None, "physicalSizeY": None, "resolution": None, "magnification": None, "zoom": 6,
            "bitPerSample": 8, "samplePerPixel": 3, "colorspace": "RGB", "numberOfAnnotations": counts["user"],
            "numberOfJobAnnotations": counts["algo"], "numberOfReviewedAnnotations": counts["reviewed"],
            "thumb": f"{host()}/api/imageinstance/{item['id']}/thumb.png?maxSize=512",
            "preview": f"{host()}/api/imageinstance/{item['id']}/thumb.png?maxSize=1024",
        }  # fmt: skip
        return answer

    def shown_job(item: Object, light: bool = False) -> Object:
        software = found("software", item["software"])
        answer = shown("job", item) | {
            "algoType": "job", "softwareName": f"{software['name']} ({software['softwareVersion']})",
            "dataDeleted": item.get("dataDeleted", False), "favorite": False, "processingServer": None,
        }  # fmt: skip
        if not light:
            answer["jobParameters"] = [shown_job_parameter(row) for row in store.find("jobparameter", job=item["id"])]
        return answer

    def shown_job_parameter(item: Object) -> Object:
        parameter = found("softwareparameter", item["softwareParameter"])
        value = item.get("value")
        if "key" in parameter["name"].lower() and value:
            value = "*" * len(value)
        kept = ("name", "type", "index", "uri", "uriPrintAttribut", "uriSortAttribut", "humanName")
        return shown("jobparameter", item) | {key: parameter[key] for key in kept} | {"value": value}

    def shown_annotation(item: Object) -> Object:
        answer = annotations.listed(store, item, {"showMeta": "true", "showWKT": "true", "showTerm": "true"}, host())
        answer |= annotations.measures(item)
        return answer | {"created": str(item["created"]), "updated": None, "deleted": None}

    def body() -> Any:
        try:
            return json.loads(request.get_data() or b"{}")
        except json.JSONDecodeError as error:
            raise Refused(400, f"The body is no JSON: {error}") from error

    def add_all(kind: str, add: Callable[[Object], Object], show: Callable[[Object], Object], place: str) -> Response:
        """POST of one object, or of an array: then each item is added by itself, and the answer says how it went."""
        content = body()
        if not isinstance(content, list):
            return as_added(kind, show(add(content)))
        rule = getattr(g, "fault", None)
        cut = (len(content) + 1) // 2 if rule is not None and rule.kind == "partial" else len(content)
        added: list[int] = []
        errors: list[Object] = []
        for position, item in enumerate(content):
            try:
                if position >= cut:
                    raise Refused(500, "The server had enough")
                added.append(add(item)["id"])
            except Refused as error:
                errors.append({"data": item, "message": str(error)})
        names = f"{place} {','.join(map(str, added))} added"
        if not errors:
            return as_json({"message": names})
        if not added:
            return as_json({"success": False, "message": "No entry saved", "errors": errors}, 400)
        message = f"Only part of the entries ({names.removesuffix(' added')}) added."
        return as_json({"success": False, "message": message, "errors": errors}, 206)

    # --- server and people ---------------------------------------------------------------------------------------

    @app.get("/server/ping")
    def ping() -> Response:
        return as_json({"alive": True, "authenticated": False, "version": "3.2.0", "serverURL": host(), "user": None})

    @app.get("/session/admin/<any(open, close):_>.json")
    def admin_session(_: str) -> Response:
        return as_json({"admin": False})

    @app.get("/api/user/current.json")
    def current_user() -> Response:
        return as_json(shown_user(g.user, with_keys=True))

    @app.get("/api/user/<int:number>.json")
    def user(number: int) -> Response:
        item = found("user", number)
        mine = person() in (item["id"], item.get("user"))
        return as_json(shown_user(item, with_keys=mine))

    @app.get("/api/project/<int:number>/<any(user, admin):_>.json")
    def project_users(number: int, _: str) -> Response:
        return as_list([shown_user(found("user", user), False) for user in readable_project(number)["users"]])

    @app.get("/api/project/<int:number>/userjob.json")
    def project_user_jobs(number: int) -> Response:
        readable_project(number)
        users = store.find("user", project=number, algo=True)
        image = request.args.get("image")
        if image:
            with_marks = {mark["user"] for mark in store.find("annotation", image=int(image))}
            users = [user for user in users if user["id"] in with_marks]
        rows = []
        for user in users:
            job = found("job", user["job"])
            software = found("software", job["software"])
            rows.append(
                {"id": user["id"], "idJob": job["id"], "idSoftware": job["software"], "softwareName": software["name"]}
                | {"created": str(user["created"]), "algo": True, "isDeleted": False}
            )
        return as_list(rows)

    # --- projects, software, jobs --------------------------------------------------------------------------------

    @app.get("/api/project.json")
    def projects() -> Response:
        return as_list([shown_project(item) for item in store.find("project") if person() in item["users"]])

    @app.post("/api/project.json")
    def add_project() -> Response:
        content = body()
        ontology = found("ontology", int(content["ontology"]))
        project = store.add(
            "project", name=content["name"], ontology=ontology["id"], users=[person()], isReadOnly=False
        )
        return as_added("project", shown_project(project))

    @app.get("/api/project/<int:number>.json")
    def project(number: int) -> Response:
        return as_json(shown_project(readable_project(number)))

    @app.get("/api/software.json")
    def all_software() -> Response:
        return as_list([shown_software(item) for item in store.find("software")])

    @app.post("/api/software.json")
    def add_software() -> Response:
        item = store.add("software", name=body()["name"], softwareVersion=None, commandLine="")
        return as_added("software", shown_software(item))

    @app.post("/api/softwareproject.json")
    def add_software_project() -> Response:
        content = body()
        project, software = readable_project(int(content["project"])), found("software", int(content["software"]))
        row = store.add("softwareproject", software=software["id"], project=project["id"])
        return as_added("softwareproject", shown("softwareproject", row))

    @app.get("/api/project/<int:number>/software.json")
    def project_software(number: int) -> Response:
        readable_project(number)
        rows = store.find("softwareproject", project=number)
        return as_list([shown_software(found("software", row["software"])) for row in rows])

    @app.get("/api/project/<int:number>/softwareproject.json")
    def software_projects(number: int) -> Response:
        readable_project(number)
        return as_list([shown("softwareproject", row) for row in store.find("softwareproject", project=number)])

    @app.get("/api/software/<int:number>.json")
    def software(number: int) -> Response:
        return as_json(shown_software(found("software", number)))

    @app.get("/api/software/<int:number>/<any(software_parameter, parameter):_>.json")
    def software_parameters(number: int, _: str) -> Response:
        everything = truthy(request.args.get("withSetByServer"))
        rows = store.find("softwareparameter", software=found("software", number)["id"])
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

    @app.post("/api/<any(software_parameter, softwareparameter):_>.json")
    def add_software_parameter(_: str) -> Response:
        content = body()
        software = found("software", int(content["software"]))
        row = store.add("softwareparameter", software=software["id"], **parameter_fields(content))
        return as_added("softwareparameter", shown("softwareparameter", row))

    @app.route(
        "/api/<any(software_parameter, softwareparameter):_>/<int:number>.json", methods=["GET", "PUT", "DELETE"]
    )
    def software_parameter(_: str, number: int) -> Response:
        row = found("softwareparameter", number)
        if request.method == "GET":
            return as_json(shown("softwareparameter", row))
        if request.method == "PUT":
            row = store.update("softwareparameter", number, **parameter_fields(body()))
        else:
            store.remove("softwareparameter", number)
        return as_added("softwareparameter", shown("softwareparameter", row))

    @app.post("/api/job.json")
    def add_job() -> Response:
        content = body()
        project = writable_project(int(content["project"]))
        job = seed.create_job(store, project["id"], found("software", int(content["software"]))["id"], person())
        for item in content.get("params") or []:
            store.add("jobparameter", job=job["id"], softwareParameter=item["softwareParameter"], value=item["value"])
        return as_added("job", shown_job(job))

    @app.get("/api/job.json")
    def jobs() -> Response:
        chosen, software = numbers(request.args.get("project")), numbers(request.args.get("software"))
        rows = [
            job
            for job in store.find("job")
            if person() in found("project", job["project"])["users"]
            and (chosen is None or job["project"] in chosen)
            and (software is None or job["software"] in software)
        ]
        return as_list([shown_job(job, truthy(request.args.get("light"))) for job in rows])

    @app.get("/api/job/<int:number>.json")
    def job(number: int) -> Response:
        return as_json(shown_job(job_of(number)))

    @app.put("/api/job/<int:number>.json")
    def change_job(number: int) -> Response:
        job_of(number)
        content = body()
        if not content.get("project") or not content.get("software"):
            raise Refused(400, "A job needs its project and its software")
        # A PUT replaces: what is left out falls back to its default.
        comment = content.get("statusComment")
        if comment is not None and len(comment) > 255:
            raise Refused(400, "statusComment has more than 255 characters")
        changed = store.update(
            "job", number, status=int(content.get("status", 0)), progress=int(content.get("progress", 0)),
            statusComment=comment, rate=content.get("rate", -1.0),
        )  # fmt: skip
        return as_added("job", shown_job(changed))

    @app.delete("/api/job/<int:number>.json")
    def delete_job(number: int) -> Response:
        item = job_of(number)
        store.remove("job", number)
        return as_added("job", shown("job", item))

    @app.get("/api/job/<int:number>/parameter.json")
    def job_parameters(number: int) -> Response:
        return as_list([shown_job_parameter(row) for row in store.find("jobparameter", job=job_of(number)["id"])])

    @app.post("/api/jobparameter.json")
    def add_job_parameter() -> Response:
        def add(item: Object) -> Object:
            job, parameter = job_of(int(item["job"])), int(item["softwareParameter"])
            if store.find("jobparameter", job=job["id"], softwareParameter=parameter):
                raise Refused(409, f"Parameter {parameter} of job {job['id']} already exists")
            value = item.get("value")
            text = None if value is None else str(value)
            if text is not None and len(text) > 5000:
                raise Refused(400, "value has more than 5000 characters")
            return store.add("jobparameter", job=job["id"], softwareParameter=parameter, value=text)

        return add_all("jobparameter", add, shown_job_parameter, "jobparameters")

    @app.get("/api/job/<int:number>/alldata.json")
    def job_all_data(number: int) -> Response:
        marks = store.find("annotation", user=job_of(number)["userJob"], layer="algo")
        reviewed = sum(annotations.review_count(store, mark) for mark in marks)
        files = len(store.find("jobdata", job=number))
        return as_json({"annotations": len(marks), "annotationsTerm": 0, "jobDatas": files, "reviewed": reviewed})

    @app.delete("/api/job/<int:number>/alldata.json")
    def delete_job_data(number: int) -> Response:
        marks = store.find("annotation", user=job_of(number)["userJob"], layer="algo")
        if any(annotations.review_count(store, mark) for mark in marks):
            raise Refused(400, "Some annotations of this job are reviewed: they cannot be deleted")
        for mark in marks:
            annotations.remove(store, mark)
        for row in store.find("jobdata", job=number):
            store.remove("jobdata", row["id"])
        store.update("job", number, dataDeleted=True)
        return as_json({"message": f"Data of job {number} deleted"} | {"job": shown_job(job_of(number))})

    # --- ontologies and terms ------------------------------------------------------------------------------------

    def terms_in(ontology: int) -> list[Object]:
        return sorted(store.find("term", ontology=ontology), key=lambda term: term["name"])

    @app.get("/api/project/<int:number>/term.json")
    def project_terms(number: int) -> Response:
        return as_list([shown("term", term) for term in terms_in(readable_project(number)["ontology"])])

    @app.get("/api/ontology/<int:number>/term.json")
    def leaf_terms(number: int) -> Response:
        terms = terms_in(found("ontology", number)["id"])
        parents = {term["parent"] for term in terms}
        return as_list([shown("term", term) for term in terms if term["id"] not in parents])

    @app.get("/api/ontology.json")
    def ontologies() -> Response:
        return as_list([shown("ontology", item) for item in store.find("ontology")])

    @app.post("/api/ontology.json")
    def add_ontology() -> Response:
        return as_added("ontology", shown("ontology", store.add("ontology", name=body()["name"], user=person())))

    @app.get("/api/ontology/<int:number>.json")
    def ontology(number: int) -> Response:
        item, terms = found("ontology", number), terms_in(number)

        def branch(parent: int | None) -> list[Object]:
            rows = [
                {"id": term["id"], "name": term["name"], "title": term["name"], "data": term["name"]}
                | {"color": term["color"], "class": CLASS_OF_KIND["term"], "parent": parent, "key": term["id"]}
                | {"attr": {"id": term["id"], "type": CLASS_OF_KIND["term"]}, "children": branch(term["id"])}
                for term in terms
                if term["parent"] == parent
            ]
            leaves_first = sorted(rows, key=lambda row: bool(row["children"]))
            return [row | {"isFolder": bool(row["children"])} for row in leaves_first]

        projects = [shown_project(row) for row in store.find("project", ontology=number)]
        return as_json(
            shown("ontology", item)
            | {"title": item["name"], "isFolder": True, "projects": projects, "children": branch(None)}
        )

    @app.post("/api/term.json")
    def add_term() -> Response:
        def add(item: Object) -> Object:
            ontology = found("ontology", int(item["ontology"]))
            if any(term["name"] == item["name"] for term in terms_in(ontology["id"])):
                raise Refused(409, f"Term {item['name']} already exist!")
            if not item.get("name"):
                raise Refused(400, "A term needs a name")
            return seed.add_term(store, ontology["id"], item["name"], item.get("color") or "#3366cc")

        return add_all("term", add, functools.partial(shown, "term"), "terms")

    @app.get("/api/term/<int:number>.json")
    def term(number: int) -> Response:
        return as_json(shown("term", found("term", number)))

    @app.post("/api/relation/parent/term.json")
    def add_parent() -> Response:
        content = body()
        parent, child = found("term", int(content["term1"])), found("term", int(content["term2"]))
        store.update("term", child["id"], parent=parent["id"])
        relation = {"id": child["id"], "term1": parent["id"], "term2": child["id"]}
        return as_added("relationterm", relation)

    # --- images --------------------------------------------------------------------------------------------------

    @app.get("/api/project/<int:number>/imageinstance.json")
    def images(number: int) -> Response:
        rows = store.find("imageinstance", project=readable_project(number)["id"])
        wanted = annotations.numbers(request.args.get("tags"))
        if wanted is not None:
            tagged = {row["domainIdent"] for row in store.find("tagdomainassociation") if row["tag"] in wanted}
            rows = [row for row in rows if row["id"] in tagged]
        return as_list([shown_image(row) for row in rows])

    @app.get("/api/<any(imageinstance, abstractimage):_>/<int:number>.json")
    def image(_: str, number: int) -> Response:
        return as_json(shown_image(image_of(number)))

    @app.get("/api/imageinstance/<int:number>/sliceinstance/reference.json")
    def slice_instance(number: int) -> Response:
        item = image_of(number)
        plane = {"channel": 0, "zStack": 0, "time": 0, "rank": 0, "image": number, "project": item["project"]}
        return as_json({"class": "be.cytomine.image.SliceInstance", "id": number} | plane)

    def pixels_or_error(draw: Callable[[], Any], extension: str) -> Response:
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
        return int(request.args["maxSize"]) if request.args.get("maxSize") else None

    @app.get("/api/<any(imageinstance, abstractimage):_>/<int:number>/thumb.<extension>")
    def thumb(_: str, number: int, extension: str) -> Response:
        path = store.folder / image_of(number)["path"]
        return pixels_or_error(lambda: pixels.thumb(path, largest() or 512), extension)

    @app.get("/api/imageinstance/<int:number>/window-<window>.<extension>")
    def window(number: int, window: str, extension: str) -> Response:
        path = store.folder / image_of(number)["path"]
        minus = window.startswith("-")
        x, y, width, height = (int(part) for part in window.lstrip("-").split("-"))
        box = (-x if minus else x, y, width, height)
        zoom = int(request.args.get("zoom") or 0)
        return pixels_or_error(lambda: pixels.window(path, box, largest(), zoom), extension)

    @app.get("/api/<any(imageinstance, abstractimage):_>/<int:number>/download")
    def download_image(_: str, number: int) -> Response:
        return send_file(store.folder / image_of(number)["path"], mimetype="application/octet-stream", max_age=0)

    @app.route("/api/imageinstance/<int:number>/review.json", methods=["POST", "DELETE"])
    def review_image(number: int) -> Response:
        item = image_of(number)
        if request.method == "POST":
            if item["reviewUser"]:
                raise Refused(400, f"Image {number} is already in review mode")
            changed = store.update("imageinstance", number, reviewUser=g.user["id"], inReview=True)
        else:
            done = not truthy(request.args.get("cancel"))
            changed = store.update("imageinstance", number, reviewUser=None, inReview=False, reviewed=done)
        return as_added("imageinstance", shown_image(changed))

    # --- annotations ---------------------------------------------------------------------------------------------

    def search() -> Response:
        query: dict[str, Any] = dict(request.args)
        if request.method == "POST":
            query = body() | query
        for number in numbers(query.get("image")) or numbers(query.get("images")) or []:
            image_of(number)
        if query.get("project"):
            readable_project(int(query["project"]))
        rows = annotations.search(store, query)
        return as_list([annotations.listed(store, row, query, host()) for row in rows])

    app.add_url_rule("/api/annotation.json", "list_annotations", search, methods=["GET"])
    app.add_url_rule("/api/annotation/search.json", "search_annotations", search, methods=["GET", "POST"])

    @app.post("/api/annotation.json")
    def add_annotation() -> Response:
        def add(item: Object) -> Object:
            image = store.get("imageinstance", int(item.get("image") or 0))
            if image:
                writable_project(image["project"])
            dropped = {"no_properties": "properties", "no_terms": "term"}
            if getattr(g, "fault", None) is not None and g.fault.kind in dropped:
                item = {key: value for key, value in item.items() if key != dropped[g.fault.kind]}
            return annotations.add(store, g.user, item)

        place = "algoannotations" if g.user["algo"] else "userannotations"
        return add_all("annotation", add, shown_annotation, place)

    @app.get("/api/annotation/<int:number>.json")
    def annotation(number: int) -> Response:
        return as_json(shown_annotation(annotation_of(number)))

    @app.put("/api/annotation/<int:number>.json")
    def change_annotation(number: int) -> Response:
        item = annotation_of(number)
        image = image_of(item["image"])
        location, tolerance = annotations.valid_location(body().get("location"), image["width"], image["height"])
        changed = store.update("annotation", number, location=location, geometryCompression=tolerance)
        return as_added("annotation", shown_annotation(changed))

    @app.delete("/api/annotation/<int:number>.json")
    def delete_annotation(number: int) -> Response:
        item = annotation_of(number)
        if g.user["id"] != item["user"]:
            raise Refused(403, f"You don't have the right to delete annotation {number}")
        answer = as_added("annotation", shown_annotation(item))
        annotations.remove(store, item)
        return answer

    @app.get("/api/imageinstance/<int:number>/annotation/included.json")
    def included_annotations(number: int) -> Response:
        image_of(number)
        query = dict(request.args) | {"image": number}
        other = query.pop("annotation", None)
        shape = wkt.loads(annotation_of(int(other))["location"] if other else query.pop("geometry"))
        rows = annotations.search(store, query)
        inside = [row for row in rows if wkt.loads(row["location"]).intersects(shape)]
        return as_list([annotations.listed(store, row, query, host()) for row in inside])

    @app.post("/api/annotation/<int:number>/term/<int:term>.json")
    def add_annotation_term(number: int, term: int) -> Response:
        item, content = annotation_of(number), body()
        found("term", term)
        if not g.user["algo"]:
            row = annotations.add_term(store, g.user, item, term, rate=0.0)
            return as_added("annotationterm", shown("annotationterm", row) | {"userannotation": number})
        rate = float(content.get("rate") or 0)
        if not 0 <= rate <= 1:
            raise Refused(400, f"rate must lie in [0, 1], got {rate}")
        row = annotations.add_term(store, g.user, item, term, rate, content.get("expectedTerm"))
        return as_added("algoannotationterm", shown("algoannotationterm", row))

    @app.get("/api/annotation/<int:number>/term.json")
    def annotation_terms(number: int) -> Response:
        rows = annotations.terms_of(store, annotation_of(number))
        return as_list([shown("term", found("term", row["term"])) for row in rows])

    @app.delete("/api/annotation/<int:number>/term/<int:term>.json")
    def delete_annotation_term(number: int, term: int) -> Response:
        if g.user["algo"]:
            raise Refused(403, "A job may not remove terms")
        rows = [row for row in annotations.terms_of(store, annotation_of(number)) if row["term"] == term]
        if not rows:
            raise Refused(404, f"Annotation {number} has no term {term}")
        for row in rows:
            store.remove("annotationterm", row["id"])
        return as_added("annotationterm", shown("annotationterm", rows[0]))

    @app.get(
        "/api/<any(user, algo, reviewed):layer>annotation/<int:number>/<any(crop, mask, alphamask):kind>.<extension>"
    )
    def annotation_crop(layer: str, number: int, kind: str, extension: str) -> Response:
        item = annotation_of(number, layer)
        if layer == "algo":  # a routing error of every classic core
            kind = {"mask": "alphamask", "alphamask": "mask"}.get(kind, kind)
        path = store.folder / image_of(item["image"])["path"]
        return pixels_or_error(lambda: pixels.crop(path, wkt.loads(item["location"]), kind, largest()), extension)

    @app.route("/api/annotation/<int:number>/review.json", methods=["POST", "DELETE"])
    def review_annotation(number: int) -> Response:
        item = annotation_of(number)
        if request.method == "POST":
            terms = [int(term) for term in body().get("terms") or []]
            reviewed = annotations.review(store, g.user, item, terms)
        else:
            copies = store.find("annotation", image=item["image"], parentIdent=number)
            if not copies:
                raise Refused(404, f"Annotation {number} is not reviewed")
            reviewed = copies[0]
            answer = as_added("reviewedannotation", shown_annotation(reviewed))
            annotations.remove(store, reviewed)
            return answer
        return as_added("reviewedannotation", shown_annotation(reviewed))

    # --- what hangs on other objects: properties, tags, files ----------------------------------------------------

    def owner(class_name: str, number: int) -> tuple[str, int]:
        kind = KIND_OF_CLASS.get(class_name)
        if kind is None:
            raise Refused(400, f"Unknown class {class_name}")
        if kind == "annotation":
            annotation_of(number)
        else:
            found(kind, number)
        return kind, number

    def shown_property(row: Object, class_name: str) -> Object:
        return shown("property", row) | {"domainClassName": class_name}

    for prefix, default in (
        ("/api/domain/<class_name>/<int:number>", None),
        ("/api/annotation/<int:number>", "annotation"),
    ):
        defaults = {"class_name": annotations.CLASSES["user"]} if default else None

        @app.get(f"{prefix}/property.json", endpoint=f"properties_{default}", defaults=defaults)
        def properties(class_name: str, number: int) -> Response:
            kind, _ = owner(class_name, number)
            rows = store.find("property", ownerKind=kind, domainIdent=number)
            return as_list([shown_property(row, class_name) for row in rows])

        @app.post(f"{prefix}/property.json", endpoint=f"add_property_{default}", defaults=defaults)
        def add_property(class_name: str, number: int) -> Response:
            kind, _ = owner(class_name, number)

            def add(item: Object) -> Object:
                if any(row["key"] == item["key"] for row in store.find("property", ownerKind=kind, domainIdent=number)):
                    raise Refused(409, f"Property {item['key']} already exists")
                return annotations.add_property(store, kind, number, item["key"], item["value"])

            return add_all("property", add, lambda row: shown_property(row, class_name), "properties")

        @app.get(f"{prefix}/key/<key>/property.json", endpoint=f"property_by_key_{default}", defaults=defaults)
        def property_by_key(class_name: str, number: int, key: str) -> Response:
            kind, _ = owner(class_name, number)
            rows = store.find("property", ownerKind=kind, domainIdent=number, key=key)
            if not rows:
                raise Refused(404, f"No property {key}")
            return as_json(shown_property(rows[0], class_name))

        @app.route(
            f"{prefix}/property/<int:row>.json",
            endpoint=f"property_{default}", defaults=defaults, methods=["GET", "PUT", "DELETE"],
        )  # fmt: skip
        def property_by_id(class_name: str, number: int, row: int) -> Response:
            owner(class_name, number)
            item = found("property", row)
            if request.method == "GET":
                return as_json(shown_property(item, class_name))
            if request.method == "DELETE":
                store.remove("property", row)
            else:
                item = store.update("property", row, key=body()["key"], value=str(body()["value"]))
            return as_added("property", shown_property(item, class_name))

    @app.route("/api/tag.json", methods=["GET", "POST"])
    def tags() -> Response:
        if request.method == "GET":
            return as_list([shown("tag", row) for row in store.find("tag")])
        if store.find("tag", name=body()["name"]):
            raise Refused(409, f"Tag {body()['name']} already exists")
        return as_added("tag", shown("tag", store.add("tag", name=body()["name"], user=g.user["id"])))

    @app.route("/api/domain/<class_name>/<int:number>/tag_domain_association.json", methods=["GET", "POST"])
    def tag_associations(class_name: str, number: int) -> Response:
        kind, _ = owner(class_name, number)
        if request.method == "POST":
            tag = found("tag", int(body()["tag"]))
            row = store.add(
                "tagdomainassociation", tag=tag["id"], tagName=tag["name"], ownerKind=kind, domainIdent=number
            )
            return as_added("tagdomainassociation", shown("tagdomainassociation", row))
        rows = store.find("tagdomainassociation", ownerKind=kind, domainIdent=number)
        return as_list([shown("tagdomainassociation", row) for row in rows])

    @app.delete("/api/tag_domain_association/<int:number>.json")
    def remove_tag(number: int) -> Response:
        row = found("tagdomainassociation", number)
        store.remove("tagdomainassociation", number)
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

    @app.post("/api/attachedfile.json")
    def add_attached_file() -> Response:
        kind, number = owner(request.args["domainClassName"], int(request.args["domainIdent"]))
        name, content = uploaded()
        stored = store.add_file(content)
        row = store.add("attachedfile", ownerKind=kind, domainIdent=number, filename=name, stored=stored)
        return as_json(shown_attached_file(row))

    @app.get("/api/domain/<class_name>/<int:number>/attachedfile.json")
    def attached_files(class_name: str, number: int) -> Response:
        kind, _ = owner(class_name, number)
        rows = store.find("attachedfile", ownerKind=kind, domainIdent=number)
        return as_list([shown_attached_file(row) for row in rows])

    @app.route("/api/attachedfile/<int:number>.json", methods=["GET", "DELETE"])
    def attached_file(number: int) -> Response:
        row = found("attachedfile", number)
        if request.method == "GET":
            return as_json(shown_attached_file(row))
        store.remove("attachedfile", number)
        return as_added("attachedfile", shown_attached_file(row))

    def shown_job_data(row: Object) -> Object:
        return {key: value for key, value in shown("jobdata", row).items() if key != "stored"}

    @app.post("/api/jobdata.json")
    def add_job_data() -> Response:
        content = body()
        job = job_of(int(content["job"]))
        row = store.add(
            "jobdata", job=job["id"], key=content["key"], filename=content["filename"], size=None, stored=None
        )
        return as_added("jobdata", shown_job_data(row))

    @app.post("/api/jobdata/<int:number>/upload")
    def upload_job_data(number: int) -> Response:
        found("jobdata", number)
        name, content = uploaded()
        row = store.update("jobdata", number, filename=name, size=len(content), stored=store.add_file(content))
        return as_json(shown_job_data(row))

    @app.get("/api/job/<int:number>/jobdata.json")
    def job_data(number: int) -> Response:
        return as_list([shown_job_data(row) for row in store.find("jobdata", job=job_of(number)["id"])])

    @app.get("/api/<any(jobdata, attachedfile):kind>/<int:number>/<any(download, view):_>")
    def download_file(kind: str, number: int, _: str) -> Response:
        row = found(kind, number)
        if row["stored"] is None:
            raise Refused(404, f"Nothing was uploaded to {kind} {number}")
        return send_file(
            store.file(row["stored"]), mimetype="application/octet-stream", as_attachment=True,
            download_name=row["filename"], max_age=0,
        )  # fmt: skip

    # --- failures on demand --------------------------------------------------------------------------------------

    if allow_faults:

        @app.post("/embedded/faults")
        def set_faults() -> Response:
            faults.set(request.get_json())
            return as_json({"message": "set"})

        dispatch = app.full_dispatch_request

        def dispatch_with_faults() -> Response:
            if not request.path.startswith("/api/"):
                return dispatch()
            g.fault = faults.take(request.method, request.full_path)
            return broken(g.fault, dispatch) if g.fault else dispatch()

        app.full_dispatch_request = dispatch_with_faults  # type: ignore[method-assign]

    return app
