"""Fill the embedded server: people, projects, images, terms, software, launched jobs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.embedded.pixels import open_image
from annotator.embedded.store import Object, Store, now
from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import SUFFIXES, pictures_in

SERVER_INPUTS = {  # how the core finds the five inputs that it fills itself (JobRuntimeService.initJob)
    "HOST": "host",
    "CYTOMINEHOST": "host",
    "PUBLICKEY": "publicKey",
    "CYTOMINEPUBLICKEY": "publicKey",
    "PRIVATEKEY": "privateKey",
    "CYTOMINEPRIVATEKEY": "privateKey",
    "IDSOFTWARE": "software",
    "CYTOMINEIDSOFTWARE": "software",
    "IDPROJECT": "project",
    "CYTOMINEIDPROJECT": "project",
}


def _keys() -> dict[str, str]:
    return {"publicKey": str(uuid.uuid4()), "privateKey": str(uuid.uuid4())}


def create_user(store: Store, username: str) -> Object:
    """A person with fresh keys."""
    return store.add("user", username=username, algo=False, **_keys())


def create_project(store: Store, name: str, user: Object, terms: Sequence[str] = ()) -> Object:
    """A project of which ``user`` is manager, with an ontology of its own that holds the terms."""
    ontology = store.add("ontology", name=f"{name} terms", user=user["id"])
    for term in terms:
        add_term(store, ontology["id"], term)
    return store.add("project", name=name, ontology=ontology["id"], users=[user["id"]], isReadOnly=False)


def add_term(store: Store, ontology: int, name: str, color: str = "#3366cc", parent: int | None = None) -> Object:
    """A term of an ontology."""
    return store.add("term", name=name, ontology=ontology, color=color, parent=parent, comment=None, deleted=None)


def add_image(store: Store, project: int, path: Path, size: tuple[int, int] | None = None) -> Object:
    """An image of a project; its file stays where it is.

    Args:
        store: the server's store.
        project: id.
        path: of the picture.
        size: width and height to announce; read from the file when left out.
    """
    if size is None:
        with open_image(path) as picture:
            size = picture.size
    return store.add(
        "imageinstance", project=project, path=str(path.resolve()), instanceFilename=path.name,
        originalFilename=path.name, width=size[0], height=size[1], inReview=False, reviewed=False, reviewUser=None,
    )  # fmt: skip


def add_images(store: Store, project: int, folder: Path) -> dict[int, Path]:
    """All pictures of a folder; files that are no pictures are named and left out.

    Returns:
        Their paths by the ids of their images.

    Raises:
        AnnotatorError: (USAGE) no such folder, or no pictures in it.
    """
    if not folder.is_dir():
        raise AnnotatorError(f"There is no folder {folder}. Name one with pictures.", ExitCode.USAGE)
    added = {}
    for path in pictures_in(folder):
        try:
            added[add_image(store, project, path)["id"]] = path
        except (OSError, SyntaxError, ValueError) as error:
            print(f"Left out {path.name!r}: no picture ({error})")
    if not added:
        raise AnnotatorError(f"{folder} holds no pictures ({', '.join(SUFFIXES)}).", ExitCode.USAGE)
    return added


def register_software(store: Store, descriptor: Mapping[str, Any], project: int) -> Object:
    """Install an app from its descriptor, by the rules of Cytomine's software router, and add it to a project."""
    software = store.add(
        "software", name=descriptor["name"], softwareVersion="v1", commandLine=descriptor["command-line"]
    )
    for number, item in enumerate(descriptor["inputs"], start=1):

        def text(key: str, default: str | None = None, item: Mapping[str, Any] = item) -> str | None:
            value = item.get(key, default)
            return value.replace("@ID", item["id"].upper()).replace("@id", item["id"]) if value else None

        store.add(
            "softwareparameter",
            software=software["id"],
            name=item["id"],
            type=item["type"],
            index=100 * number,
            required=not item.get("optional", False),
            defaultParamValue=str(item["default-value"]) if item.get("default-value") not in (None, "") else None,
            setByServer=item.get("set-by-server", False),
            serverParameter=item.get("server-parameter", False),
            humanName=text("name", "@id"),
            valueKey=text("value-key", "[@ID]"),
            commandLineFlag=text("command-line-flag", "") or "",
            uri=item.get("uri"),
            uriPrintAttribut=item.get("uri-print-attribute"),
            uriSortAttribut=item.get("uri-sort-attribute"),
        )
    store.add("softwareproject", software=software["id"], project=project)
    return software


def create_job(store: Store, project: int, software: int, user: int) -> Object:
    """A job that is not launched yet, and the user that it will act as."""
    number = len(store.find("job", project=project, software=software)) + 1
    job = store.add(
        "job", project=project, software=software, number=number, status=0, progress=0, statusComment=None, rate=-1.0
    )
    username = f"JOB[{job['id']}]"
    user_job = store.add("user", username=username, algo=True, job=job["id"], user=user, project=project, **_keys())
    return store.update("job", job["id"], userJob=user_job["id"])


@dataclass(frozen=True)
class Launch:
    """A job as Cytomine's page launches it.

    Attributes:
        job: its id.
        arguments: what the container is started with.
    """

    job: int
    arguments: list[str]


def launch(store: Store, host: str, project: int, software: int, user: int, values: Mapping[str, Any]) -> Launch:
    """Create a job and build its command line as the core does (JobRuntimeService.getCommandJobWithArgs).

    Raises:
        ValueError: a required parameter has no value.
    """
    job = create_job(store, project, software, user)
    user_job = store.get("user", job["userJob"]) or {}
    server_values = {"host": host, "software": software, "project": project} | user_job
    command = (store.get("software", software) or {})["commandLine"]
    for parameter in store.find("softwareparameter", software=software):
        key = SERVER_INPUTS.get(parameter["name"].replace("_", "").upper())
        value = server_values[key] if key else values.get(parameter["name"], parameter["defaultParamValue"])
        if value not in (None, "", False):  # the page does not send falsy values
            store.add("jobparameter", job=job["id"], softwareParameter=parameter["id"], value=str(value))
        elif parameter["required"]:
            raise ValueError(f"Argument {parameter['name']} is required !")
        if not parameter["serverParameter"]:
            given = "" if value in (None, "", False) else f"{parameter['commandLineFlag']} {value}"
            pattern = parameter["valueKey"].replace("[", r"\[").replace("]", r"\]")
            command = re.sub(pattern, given, command)
    store.update("job", job["id"], status=1, launched=now())
    return Launch(job["id"], [part for part in command.split(" ") if part])
