"""Fetch a project's images into a folder, for the commands of ``python -m training`` that take a folder of pictures."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import many
from annotator.parameters import LONGEST_SIDE
from annotator.pictures import jpeg
from annotator.pipeline import overlapped
from annotator.platform.connection import Connection
from annotator.platform.images import FETCHERS, ProjectImage, choose_images, fetch_or_why_not

QUALITY = 95  # of the JPEG files
LONGEST_NAME = 80  # characters of an image's name in that of its file


def fetch(connection: Connection, project: int, folder: Path) -> str:
    """Write each image of a project as a JPEG file, shrunk to at most `LONGEST_SIDE`; those that are there stay.

    Args:
        connection: with the keys of somebody who may see the project.
        project: id.
        folder: is made where it is missing.

    Returns:
        What was fetched, for a person; images that cannot be read are named on the standard error stream.

    Raises:
        AnnotatorError: there is no such project, or it has no image that can be read.
    """
    images = choose_images(connection, project, ())
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [image for image in images if not (folder / file_name(image)).exists()]

    def get(image: ProjectImage) -> tuple[ProjectImage, np.ndarray | AnnotatorError]:
        return image, fetch_or_why_not(connection, image, LONGEST_SIDE)

    def keep(fetched: tuple[ProjectImage, np.ndarray | AnnotatorError]) -> AnnotatorError | None:
        image, pixels = fetched
        if isinstance(pixels, AnnotatorError):
            return pixels
        path = folder / file_name(image)
        half = path.with_suffix(".part")  # so that what was cut off is not taken for whole
        half.write_bytes(jpeg(Image.fromarray(pixels), QUALITY))
        half.replace(path)
        return None

    failures = 0
    with overlapped(waiting, (get, FETCHERS), (keep, 1)) as kept:
        for done, error in enumerate(kept, start=1):
            if error is not None:
                failures += 1
                print(error, file=sys.stderr)
            if done % 100 == 0:
                print(f"{done} of {many(len(waiting), 'image')} fetched", flush=True)
    if failures == len(images):
        raise AnnotatorError(
            f"None of the {many(failures, 'image')} of project {project} can be read.", ExitCode.BAD_IMAGE
        )
    before = f", {len(images) - len(waiting)} were there" if len(waiting) < len(images) else ""
    failed = f", {failures} cannot be read" if failures else ""
    return f"{many(len(waiting) - failures, 'image')} of project {project} fetched into {folder}{before}{failed}."


def file_name(image: ProjectImage) -> str:
    """The name of an image's file: its own as far as that is safe, and its id, so that no two share one."""
    stem = re.sub(r"[^\w-]+", "_", Path(image.name).stem).strip("_")[:LONGEST_NAME]
    return f"{stem}_{image.id}.jpg".lstrip("_")
