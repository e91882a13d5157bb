"""The server itself, and people."""

from flask import Blueprint, Response, g, request

from annotator.embedded.access import found, person, readable_project, store
from annotator.embedded.answers import as_json, as_list, host, shown_user

routes = Blueprint("people", __name__)


@routes.get("/server/ping")
def ping() -> Response:
    return as_json({"alive": True, "authenticated": False, "version": "3.2.0", "serverURL": host(), "user": None})


@routes.get("/session/admin/<any(open, close):_>.json")
def admin_session(_: str) -> Response:
    return as_json({"admin": False})


@routes.get("/api/user/current.json")
def current_user() -> Response:
    return as_json(shown_user(g.user, with_keys=True))


@routes.get("/api/user/<int:number>.json")
def user(number: int) -> Response:
    item = found("user", number)
    mine = person() in (item["id"], item.get("user"))
    return as_json(shown_user(item, with_keys=mine))


@routes.get("/api/project/<int:number>/<any(user, admin):_>.json")
def project_users(number: int, _: str) -> Response:
    return as_list([shown_user(found("user", user), False) for user in readable_project(number)["users"]])


@routes.get("/api/project/<int:number>/userjob.json")
def project_user_jobs(number: int) -> Response:
    readable_project(number)
    users = store().find("user", project=number, algo=True)
    image = request.args.get("image")
    if image:
        with_marks = {mark["user"] for mark in store().find("annotation", image=int(image))}
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
