"""A labelled picture: what all loaders give and all training takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.detection import SCAN_SIDE
from annotator.errors import AnnotatorError, ExitCode
from annotator.models.bundle import Label
from annotator.pictures import UNREADABLE, lies_on_its_side, open_shrunk
from annotator.vocabulary import by_mimo_id, matching
from annotator.vocabulary.instruments import ancestors

Box = tuple[float, float, float, float]
PARTS = ("training", "development", "test")  # what a picture can be for


@dataclass(frozen=True)
class Region:
    """Something in a picture that people named.

    Attributes:
        label: what it is.
        box: x0, y0, x1, y1 in pixels of the file, top-left origin, half-open; None for the whole picture.
        difficult: it counts neither for nor against (hidden, a group, or of doubtful name).
        weight: how much it counts against other regions, where people took more or less care.
    """

    label: Label
    box: Box | None = None
    difficult: bool = False
    weight: float = 1.0


@dataclass(frozen=True)
class Picture:
    """A file and what is in it.

    Attributes:
        path: of the file.
        group: the artwork or museum object that it shows: pictures of one group never part between splits.
        regions: what people named; empty for a picture without instruments.
        part: "training", "development" or "test" where the data set says so, "" where it leaves that to us.
        sources: SHA-256 digits, as in `training.splits.Fingerprint`, of the pictures that it was composed of.
        complete: whether the regions are all the instruments there are, so that all else shows none.
        rejected: boxes that a person looked at and that show no instrument.
    """

    path: Path
    group: str
    regions: tuple[Region, ...] = ()
    part: str = ""
    sources: tuple[str, ...] = ()
    complete: bool = True
    rejected: tuple[Box, ...] = ()


def group_of_file(folder: Path, file: str) -> str:
    """The group of a picture whose data set names none: itself, told from a file of that name in another folder.

    Args:
        folder: of the data set.
        file: of the picture, in that folder.
    """
    return f"{folder.resolve().name}/{file}"


def label_named(name: str, mimo_id: int | None = None) -> Label:
    """The label that a dataset's name means, so that `Violin (3573)`, `violins` and `viool` meet in one.

    Args:
        name: as the dataset writes it; a name that the vocabulary does not know becomes a label of its own.
        mimo_id: the instrument's number in MIMO, where the dataset gives it. It decides.

    Raises:
        AnnotatorError: (USAGE) name and number mean different instruments, or there is no name.
    """
    name = name.strip()
    meant = matching(name)
    numbered = by_mimo_id().get(mimo_id) if mimo_id is not None else None
    own_name = numbered is not None and name.casefold() == numbered.name.casefold()  # two instruments are called Lira
    if meant and numbered and meant.mimo_id != mimo_id and not own_name:
        related = {item.mimo_id for item in [*ancestors(meant), *ancestors(numbered)]}
        if mimo_id not in related and meant.mimo_id not in related and meant.family != numbered.family:
            raise AnnotatorError(
                f"The label {name!r} has the MIMO id {mimo_id}, which is {numbered.name!r}; {meant.name!r} has "
                f"{meant.mimo_id}. Correct the name or the id.",
                ExitCode.USAGE,
            )
    instrument = numbered or meant
    if instrument:
        return Label(instrument.name, instrument.mimo_id)
    if not name:
        raise AnnotatorError("A label without a name. Name it or take its line out.", ExitCode.USAGE)
    return Label(name, mimo_id)


def labels_of(pictures: Sequence[Picture]) -> list[Label]:
    """The labels of all regions that are not difficult, by name."""
    found = {region.label for picture in pictures for region in picture.regions if not region.difficult}
    return sorted(found, key=lambda label: (label.name, label.mimo_id or 0))


def read_shrunk(path: Path) -> tuple[np.ndarray, int, int]:
    """A picture at the size that a job fetches, (h, w, 3) uint8, and its full width and height.

    Raises:
        AnnotatorError: (BAD_IMAGE) it cannot be read.
    """
    return open_shrunk(path, SCAN_SIDE)


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture, without decoding it; None if it cannot be read, for training says which cannot."""
    try:
        with Image.open(path) as picture:
            # Pillow gives a TIFF's size as turned already.
            lying = picture.format != "TIFF" and lies_on_its_side(picture)
            return picture.size[::-1] if lying else picture.size
    except UNREADABLE:
        return None


def clip(box: Box, width: float, height: float) -> Box | None:
    """The part of a box that lies in the picture, corners in order.

    None where less than a pixel is left each way, or a corner is no number.
    """
    if not all(math.isfinite(side) for side in box):
        return None
    x0, x1 = sorted(box[0::2])
    y0, y1 = sorted(box[1::2])
    x0, y0, x1, y1 = max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)
    return (x0, y0, x1, y1) if x1 - x0 >= 1 and y1 - y0 >= 1 else None
