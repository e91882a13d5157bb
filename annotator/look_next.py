"""Which images a person should look through next: those from which the model would learn most."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.errors import AnnotatorError
from annotator.pictures import jpeg
from annotator.platform import jobs, tags
from annotator.platform.connection import Connection
from annotator.platform.images import ProjectImage
from annotator.report.look_next import Row, write_look_next_page

log = logging.getLogger(__name__)

MOST = 20  # images that are named: an afternoon's work
KEPT = 1000  # images that are compared, those with most doubt: what is kept of each takes memory
PAGE, PAGE_KEY = "look_next.html", "look at these next"
THUMBNAIL_SIDE = 320  # pixels


@dataclass(frozen=True)
class Looked:
    """What a job remembers of an image.

    Attributes:
        image: which.
        doubt: mistakes to be expected in it (`annotator.detection.examination.doubt`).
        appearance: (classes,) what it is like.
        thumbnail: a JPEG.
    """

    image: ProjectImage
    doubt: float
    appearance: np.ndarray
    thumbnail: bytes

    @classmethod
    def at(cls, image: ProjectImage, pixels: np.ndarray, doubt: float, appearance: np.ndarray) -> Looked:
        """At an image with these pixels, (h, w, 3) uint8 RGB."""
        small = Image.fromarray(pixels)
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return cls(image, doubt, appearance, jpeg(small, 80))


def most_doubtful(looked: Sequence[Looked]) -> list[Looked]:
    """The `KEPT` with most doubt."""
    return sorted(looked, key=lambda one: -one.doubt)[:KEPT]


def ranking(doubts: np.ndarray, appearances: np.ndarray, known: np.ndarray, most: int) -> list[int]:
    """Pictures in the order in which a person should look at them: much doubt, and unlike what was looked at before.

    Each next one is that with the largest product of its doubt and its distance to the nearest picture looked at
    (farthest-first traversal, Gonzalez 1985; as core sets do for learning, Sener & Savarese 2018). Doubt alone would
    choose the twenty views of one painting.

    Args:
        doubts: (n,) at least 0.
        appearances: (n, classes).
        known: (m, classes) of pictures that people have looked at.
        most: how many to name at the most.

    Returns:
        Positions, first to last; pictures without doubt are not named.
    """
    every = np.concatenate([appearances, known])
    centred = every - every.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    own, others = directions[: len(doubts)], directions[len(doubts) :]
    distances = 1 - (own @ others.T).max(axis=1, initial=-1.0)  # of the cosine: 0 alike, 2 opposite
    worth = np.array(doubts, float)
    order: list[int] = []
    while len(order) < min(most, len(worth)) and (left := worth * distances).max() > 0:
        order.append(int(left.argmax()))
        worth[order[-1]] = 0
        distances = np.minimum(distances, 1 - own @ own[order[-1]])
    return order


def publish(
    connection: Connection, job: jobs.RunningJob, project: int, looked: Sequence[Looked], among: int, folder: Path
) -> list[ProjectImage]:
    """Show on the job's page what to look at next, and tag these images in the place of those of earlier jobs.

    Args:
        connection: with the job's keys.
        job: that looked at them.
        project: id.
        looked: the images; those that people have looked through are not named, but what is like them comes later.
        among: how many images that nobody has looked through the job looked at: more than are remembered, maybe.
        folder: for temporary files.

    Returns:
        The images, first to last; none if there is nothing to choose from.
    """
    unseen = [one for one in looked if not one.image.looked_through]
    if len(unseen) < 2:
        return []
    classes = len(unseen[0].appearance)
    known = np.array([one.appearance for one in looked if one.image.looked_through]).reshape(-1, classes)
    doubts = np.array([one.doubt for one in unseen])
    order = ranking(doubts, np.array([one.appearance for one in unseen]), known, MOST)
    chosen = [unseen[position] for position in order]
    if not chosen:
        return []
    rows = [Row(one.image.name, one.doubt, one.thumbnail) for one in chosen]
    untagged = ""
    try:
        tags.move(connection, job.id, project, [one.image.id for one in chosen])
    except AnnotatorError as error:  # the page names them too, and all annotations are stored
        log.warning("The images to look at next are not tagged: %s", error)
        untagged = str(error)
    (folder / PAGE).write_text(write_look_next_page(rows, among, tags.LOOK_NEXT, untagged), encoding="utf-8")
    job.upload(PAGE_KEY, folder / PAGE)
    return [one.image for one in chosen]
