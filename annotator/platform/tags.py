"""The tag on images that people should look through next: Cytomine's list of images can be filtered by it."""

from __future__ import annotations

from collections.abc import Sequence

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import properties
from annotator.platform.connection import Connection, RequestFailed
from annotator.platform.jobs import JOB

LOOK_NEXT = "look next"
RECENT = 5  # jobs that tagged images, among which is the one that did so last
TAGGED = "look_next"  # property of a job: ids of the images that it tagged


def move(connection: Connection, job: int, project: int, images: Sequence[int]) -> None:
    """Tag images, and take the tag from those that earlier jobs of the project gave it to.

    What a job tagged is written down with it before, so that the next one finds it whatever happens.

    Args:
        connection: with the job's keys.
        job: id of the job that names them.
        project: id.
        images: their ids, in the order in which they should be looked through.

    Raises:
        AnnotatorError: nobody has made the tag yet, the server does not let us put it on, or somebody wrote over what
            a job had written down.
    """
    tag = _tag(connection)
    before = _tagged(connection, project, job)
    properties.record(connection, JOB, job, TAGGED, ",".join(map(str, images)), f"job {job}")
    for image in before - set(images):
        for row in _associations(connection, image, tag):
            connection.delete(f"tag_domain_association/{row}.json", what=f"the tag of image {image}")
    for image in images:
        if not _associations(connection, image, tag):
            path = f"domain/{properties.IMAGE}/{image}/tag_domain_association.json"
            # The core looks for the image here, not in the path.
            body = {"tag": tag, "domainClassName": properties.IMAGE, "domainIdent": image}
            connection.post(path, body, what=f"the tag of image {image}")


def _tag(connection: Connection) -> int:
    """Id of the tag, in whatever case it is written.

    Raises:
        AnnotatorError: (NOT_FOUND) there is none: the core lets a job put tags on, but not make them.
    """
    rows = connection.items("tag.json", what="the tags")
    known = [row["id"] for row in rows if str(row["name"]).lower() == LOOK_NEXT]
    if not known:
        raise AnnotatorError(
            f'Only people can make tags: put "{LOOK_NEXT}" on any image once, and later jobs use it.',
            ExitCode.NOT_FOUND,
        )
    return min(known)


def _tagged(connection: Connection, project: int, job: int) -> set[int]:
    """Ids of the images that were tagged last before, by a job that need not be the newest."""
    rows = connection.items("job.json", {"project": project}, what=f"the jobs of project {project}")
    said: list[tuple[int, str, str]] = []
    for number in sorted((row["id"] for row in rows if row["id"] != job), reverse=True):
        what = f"job {number}"
        own = properties.numbered(connection, JOB, number, what).get(TAGGED)
        said += [(*own, what)] if own else []
        if len(said) == RECENT:
            break
    _, images, what = max(said, default=(0, "", ""))
    return {properties.whole_number(image, TAGGED, images, what) for image in images.split(",") if image}


def _associations(connection: Connection, image: int, tag: int) -> list[int]:
    path = f"domain/{properties.IMAGE}/{image}/tag_domain_association.json"
    try:
        rows = connection.items(path, what=f"the tags of image {image}")
    except RequestFailed as error:
        if error.status != 404:
            raise
        return []  # the image was deleted
    return [row["id"] for row in rows if row["tag"] == tag]
