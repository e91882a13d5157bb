"""What a job has finished, written where it survives the job's machine: as properties of the job on the server.

Properties, because one is written with one request, the same key and value stand once (so a request that is delivered
twice changes nothing), one request reads all of a job, and they go when the job goes. Properties of the images would
fill the panel that curators look at; a file of the job's page would have to be sent whole after each image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import properties
from annotator.platform.connection import Connection, Json, RequestFailed
from annotator.platform.jobs import JOB

log = logging.getLogger(__name__)

SETTINGS = "settings"
MODEL = "model"
RESUMES = "resumes"
DONE = "image-"  # then the image's id; the value counts its annotations


@dataclass(frozen=True)
class Record:
    """What one job wrote down.

    Attributes:
        job: its id.
        user: id of the job's user, whose layer holds its annotations.
        settings: all that its detections depend on, None where it wrote nothing.
        model: that it worked with, None where it wrote nothing.
        resumes: id of the job that it goes on with, or None.
        done: annotations of each finished image, by image id.
    """

    job: int
    user: int
    settings: str | None
    model: str | None
    resumes: int | None
    done: dict[int, int]


def read(connection: Connection, job: int, project: int) -> Record:
    """What a job wrote down.

    Raises:
        AnnotatorError: there is no such job, it belongs to another project, or somebody wrote over what it wrote.
    """
    found = connection.get(f"job/{job}.json", what=f"job {job}")
    if found["project"] != project:
        raise AnnotatorError(
            f"Job {job} belongs to project {found['project']}, not to {project}. Choose a job of this project.",
            ExitCode.NOT_FOUND,
        )
    return _record_of(connection, found)


def _record_of(connection: Connection, job: Json) -> Record:
    """What a job, as the server lists it, wrote down."""
    what = f"job {job['id']}"
    texts = properties.read(connection, JOB, job["id"], what)

    def number(text: str, key: str) -> int:
        return properties.whole_number(text, key, texts[key], what)

    # Cytomine's page has a button that deletes a job's annotations: then nothing is done.
    done = {
        number(key.removeprefix(DONE), key): number(value, key)
        for key, value in texts.items()
        if key.startswith(DONE) and not job.get("dataDeleted")
    }
    resumes = number(texts[RESUMES], RESUMES) if RESUMES in texts else None
    return Record(job["id"], job["userJob"], texts.get(SETTINGS), texts.get(MODEL), resumes, done)


def earlier_jobs(connection: Connection, job: int | None, project: int) -> list[Record]:
    """A job to go on with, and those that it went on with itself, newest first; none without such a job.

    Raises:
        AnnotatorError: one does not exist or belongs to another project.
    """
    found: dict[int, Record] = {}
    following = job
    while following is not None and following not in found:
        found[following] = read(connection, following, project)
        following = found[following].resumes
    return list(found.values())


def check_settings(earlier: Iterable[Record], settings: str) -> None:
    """Make sure that a job may go on with others.

    Raises:
        AnnotatorError: (USAGE) one worked with other settings.
    """
    for record in earlier:
        if record.settings not in (None, settings):
            raise AnnotatorError(
                f"Job {record.job} worked with {record.settings}, this one with {settings}: together they would mix. "
                "Launch with the same settings, or without resume.",
                ExitCode.USAGE,
            )


def done_by_model(connection: Connection, project: int, model: str) -> dict[int, int]:
    """Annotations of each image that any job of the project has finished with a model, by image id."""
    done: dict[int, int] = {}
    for job in connection.items("job.json", {"project": project}, what=f"jobs of project {project}"):
        record = _record_of(connection, job)
        if record.model == model:
            done |= record.done
    return done


def begin(connection: Connection, job: int, settings: str, model: str, resumes: int | None) -> None:
    """Write down what a job works with, before its first image."""
    values = {SETTINGS: settings, MODEL: model} | ({} if resumes is None else {RESUMES: str(resumes)})
    for key, value in values.items():
        _write(connection, job, key, value)


def finish(connection: Connection, job: int, image: int, count: int) -> None:
    """Write down that an image is done, after the server has acknowledged all its annotations."""
    _write(connection, job, f"{DONE}{image}", str(count))


def forget(connection: Connection, job: int) -> None:
    """Remove what a job wrote down about images."""
    path = f"domain/{JOB}/{job}/property"
    for row in connection.items(f"{path}.json", what=f"the properties of job {job}"):
        if str(row["key"]).startswith(DONE):
            connection.delete(f"{path}/{row['id']}.json", what=f"the property {row['key']} of job {job}")


def _write(connection: Connection, job: int, key: str, value: str) -> None:
    try:
        properties.record(connection, JOB, job, key, value, f"job {job}")
    except RequestFailed as error:
        # Nothing is lost: whoever goes on finds the annotations in the layer, and only looks at the image again.
        log.warning("Not written down: %s", error)
