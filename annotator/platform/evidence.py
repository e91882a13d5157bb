"""Evidence: a picture attached to an annotation, which Cytomine shows and offers in the annotation's panel."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path, PurePosixPath

from annotator.platform.connection import REFUSED, Connection, RequestFailed, pause

log = logging.getLogger(__name__)

FILE = "evidence.jpg"
ATTEMPTS = 3


def attach(connection: Connection, class_name: str, annotation: int, picture: bytes) -> None:
    """Attach an annotation's evidence unless it is there; one that cannot be is named in the log, for the rest counts.

    Args:
        connection: as the job.
        class_name: of the annotation.
        annotation: its id.
        picture: a JPEG.
    """
    with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
        path = Path(folder) / FILE
        path.write_bytes(picture)
        for attempt in range(ATTEMPTS):
            try:
                if find(connection, class_name, annotation) is None:  # also when an answer was lost
                    connection.attach(class_name, annotation, path)
                return
            except RequestFailed as error:
                if error.status in REFUSED or attempt == ATTEMPTS - 1:
                    log.warning("Annotation %d stays without its evidence: %s", annotation, error)
                    return
            pause(attempt)


def find(connection: Connection, class_name: str, annotation: int) -> int | None:
    """The id of an annotation's evidence, None if it has none."""
    rows = connection.items(
        f"domain/{class_name}/{annotation}/attachedfile.json", what=f"the files of annotation {annotation}"
    )
    return next((row["id"] for row in rows if PurePosixPath(str(row["filename"])).name == FILE), None)
