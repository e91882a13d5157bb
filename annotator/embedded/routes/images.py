"""Images and their pixels."""

from flask import Blueprint, Response, g, request, send_file

from annotator.embedded import annotations, pixels
from annotator.embedded.access import image_of, readable_project, store
from annotator.embedded.annotations import Refused, truthy
from annotator.embedded.answers import as_added, as_json, as_list, largest, pixels_or_error, shown_image

routes = Blueprint("images", __name__)


@routes.get("/api/project/<int:number>/imageinstance.json")
def images(number: int) -> Response:
    rows = store().find("imageinstance", project=readable_project(number)["id"])
    wanted = annotations.numbers(request.args.get("tags"))
    if wanted is not None:
        tagged = {row["domainIdent"] for row in store().find("tagdomainassociation") if row["tag"] in wanted}
        rows = [row for row in rows if row["id"] in tagged]
    return as_list([shown_image(row) for row in rows])


@routes.get("/api/<any(imageinstance, abstractimage):_>/<int:number>.json")
def image(_: str, number: int) -> Response:
    return as_json(shown_image(image_of(number)))


@routes.get("/api/imageinstance/<int:number>/sliceinstance/reference.json")
def slice_instance(number: int) -> Response:
    item = image_of(number)
    plane = {"channel": 0, "zStack": 0, "time": 0, "rank": 0, "image": number, "project": item["project"]}
    return as_json({"class": "be.cytomine.image.SliceInstance", "id": number} | plane)


@routes.get("/api/<any(imageinstance, abstractimage):_>/<int:number>/thumb.<extension>")
def thumb(_: str, number: int, extension: str) -> Response:
    path = store().folder / image_of(number)["path"]
    return pixels_or_error(lambda: pixels.thumb(path, largest() or 512), extension)


@routes.get("/api/imageinstance/<int:number>/window-<window>.<extension>")
def window(number: int, window: str, extension: str) -> Response:
    path = store().folder / image_of(number)["path"]
    minus = window.startswith("-")
    x, y, width, height = (int(part) for part in window.lstrip("-").split("-"))
    box = (-x if minus else x, y, width, height)
    zoom = int(request.args.get("zoom") or 0)
    return pixels_or_error(lambda: pixels.window(path, box, largest(), zoom), extension)


@routes.get("/api/<any(imageinstance, abstractimage):_>/<int:number>/download")
def download_image(_: str, number: int) -> Response:
    return send_file(store().folder / image_of(number)["path"], mimetype="application/octet-stream", max_age=0)


@routes.route("/api/imageinstance/<int:number>/review.json", methods=["POST", "DELETE"])
def review_image(number: int) -> Response:
    item = image_of(number)
    if request.method == "POST":
        if item["reviewUser"]:
            raise Refused(400, f"Image {number} is already in review mode")
        changed = store().update("imageinstance", number, reviewUser=g.user["id"], inReview=True)
    else:
        done = not truthy(request.args.get("cancel"))
        changed = store().update("imageinstance", number, reviewUser=None, inReview=False, reviewed=done)
    return as_added("imageinstance", shown_image(changed))
