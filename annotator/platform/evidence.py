"""Evidence: a picture attached to an annotation, which Cytomine shows and offers in the annotation's panel."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from annotator.platform import files
from annotator.platform.connection import Connection, RequestFailed

log = logging.getLogger(__name__)

FILE = "evidence.jpg"


def attach(connection: Connection, class_name: str, annotation: int, picture: bytes) -> None:
    """Attach an annotation's evidence unless it is there; one that cannot be is named in the log, for the rest counts.

    Args:
        connection: as the job.
        class_name: of the annotation.
        annotation: its id.
        picture: a JPEG.
    """
    try:
        if find(connection, class_name, annotation) is None:
            with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
                path = Path(folder) / FILE
                path.write_bytes(picture)
                files.attach(connection, class_name, annotation, path)
    except RequestFailed as error:
        log.warning("Annotation %d stays without its evidence: %s", annotation, error)


def find(connection: Connection, class_name: str, annotation: int) -> int | None:
    """The id of an annotation's evidence, None if it has none."""
    return min(files.attached(connection, class_name, annotation, FILE), default=None)
