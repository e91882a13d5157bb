"""The embedded server: the part of Cytomine's REST interface (official core 3.1 and 3.2) that apps and people need.

Every answer is a JSON object; lists are wrapped as Cytomine wraps them. Requests are signed as its clients sign them.
"""

from flask import Flask, Response, g, request

from annotator.embedded import access
from annotator.embedded.annotations import Refused, Stumbled
from annotator.embedded.answers import as_json
from annotator.embedded.faults import Faults, broken
from annotator.embedded.routes import annotations, attachments, images, jobs, people, projects, terms
from annotator.embedded.signature import public_key_and_signature, signature
from annotator.embedded.store import Store

OPEN_PATHS = ("/server/ping", "/session/admin/open.json", "/session/admin/close.json")  # signed wrongly by the client


def create_app(store: Store, allow_faults: bool = False) -> Flask:
    """The server as a WSGI application.

    Args:
        store: where its objects are.
        allow_faults: whether ``POST /embedded/faults`` may set failures (for tests).
    """
    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["store"] = store
    app.before_request(authenticate)
    app.register_error_handler(Refused, refuse)
    app.register_error_handler(Stumbled, stumble)
    app.register_error_handler(404, unknown_path)
    for own in (people, projects, jobs, terms, images, annotations, attachments):
        app.register_blueprint(own.routes)
    if allow_faults:
        add_faults(app)
    return app


def authenticate() -> Response | None:
    """Turn away who has not signed the request with keys of this server, and note who has."""
    if request.path in OPEN_PATHS or not request.path.startswith("/api/"):
        return None
    parts = public_key_and_signature(request.headers.get("authorization", ""))
    users = access.store().find("user", publicKey=parts[0]) if parts else []
    if parts and not users:
        return Response("Unauthorized", 401, content_type="text/html")
    headers = {key.lower(): value for key, value in request.headers.items()}
    target = request.environ["REQUEST_URI"]
    if not parts or signature(users[0]["privateKey"], request.method, headers, target) != parts[1]:
        return Response("", 302, headers={"Location": "/"})
    g.user = users[0]
    return None


def refuse(error: Refused) -> Response:
    """The answer to what is not carried out."""
    return as_json({"success": False, "errors": str(error)}, error.status)


def stumble(error: Stumbled) -> Response:
    """The answer to what the server fails at."""
    return Response("Internal Server Error", 500, content_type="text/html")


def unknown_path(error: Exception) -> Response:
    """The answer to a path that the server does not have."""
    return as_json({"errors": {"message": f"No such path: {request.path}"}}, 404)


def add_faults(app: Flask) -> None:
    """Let ``POST /embedded/faults`` set failures, which the requests after it then meet."""
    faults = Faults()

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
