"""Files that a job leaves on the server: on its page for people, or attached to any object for other programs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from annotator.platform.connection import Connection, store_once


def show(connection: Connection, job: int, key: str, path: Path) -> None:
    """Put a file on a job's page, where people see and download it.

    Args:
        connection: as the job.
        job: its id.
        key: what stands beside the file.
        path: of the file; only its last part is sent as the name.

    Raises:
        RequestFailed: it could not be stored, as often as it was tried.
    """
    what = f"the file {path.name}"
    body = {"job": job, "key": key, "filename": path.name}

    def rows() -> set[int]:
        listed = connection.items(f"job/{job}/jobdata.json", what=f"the files of job {job}")
        return {row["id"] for row in listed if row["key"] == key}

    before = rows()
    store_once(lambda: connection.post("jobdata.json", body, what=what), lambda: min(rows() - before, default=None))
    number = min(rows() - before)
    # What is sent again replaces what was sent before.
    store_once(lambda: connection.upload(f"jobdata/{number}/upload", {}, path, what=what), lambda: None)


def attach(connection: Connection, class_name: str, number: int, path: Path) -> None:
    """Attach a file to any object of the server.

    Args:
        connection: as who attaches it.
        class_name: of the object, such as be.cytomine.processing.Job.
        number: its id.
        path: of the file; only its last part is sent as the name.

    Raises:
        RequestFailed: it could not be stored, as often as it was tried.
    """
    what = f"the file {path.name}"
    query = {"domainClassName": class_name, "domainIdent": number, "filename": path.name}
    before = attached(connection, class_name, number, path.name)
    store_once(
        lambda: connection.upload("attachedfile.json", query, path, what=what),
        lambda: min(attached(connection, class_name, number, path.name) - before, default=None),
    )


def attached(connection: Connection, class_name: str, number: int, name: str) -> set[int]:
    """Ids of the files of this name that are attached to an object."""
    rows = connection.items(f"domain/{class_name}/{number}/attachedfile.json", what=f"the files of {number}")
    # Some cores keep the path that the client sent as the file's name.
    return {row["id"] for row in rows if PurePosixPath(str(row["filename"])).name == name}
