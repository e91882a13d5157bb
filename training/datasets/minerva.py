"""MINERVA: boxes of instruments in artworks (Sabatelli et al. 2021), its table beside the images."""

from __future__ import annotations

import re
from pathlib import Path

from annotator.errors import AnnotatorError, ExitCode
from annotator.models.bundle import Label
from annotator.pictures import picture_files
from training.datasets.pictures import Box, Picture, Region, label_named
from training.datasets.tables import read_table

# The published splits, and the full table in the repository's history.
NAMES = (
    ("image_filename", "bounding_box_coordinates", "instrument_name"),
    ("Image Filename", "coordinates", "Term"),
)


def read(path: Path) -> list[Picture]:
    """The pictures that its tables (any ``*.csv`` in the folder) name and that lie in the folder, at any depth.

    The full table lists each box once for every instrument in the picture, so a box with several names is *difficult*:
    something is there, but what is not known. Corners come in any order and reach over the border.

    Raises:
        AnnotatorError: (USAGE) there is no table, or a box is no four numbers.
    """
    boxes: dict[str, dict[Box, set[Label]]] = {}
    tables = sorted(path.glob("*.csv"))
    if not tables:
        raise AnnotatorError(f"There is no table *.csv in {str(path)!r}.", ExitCode.USAGE)
    for table in tables:
        for row in read_table(table, *NAMES):
            file, corners, name = (row[column] for column in next(names for names in NAMES if set(names) <= set(row)))
            box = _box(corners, table.name)
            stem = Path(file.replace("\\", "/")).name
            boxes.setdefault(stem, {}).setdefault(box, set()).add(label_named(name.replace("-", " ")))
    files = {file.name: file for file in picture_files(path)}
    return [Picture(files[name], name, _regions(own)) for name, own in sorted(boxes.items()) if name in files]


def _box(text: str, table: str) -> Box:
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
    if len(numbers) != 4:
        raise AnnotatorError(f"{table}: the box {text!r} is no four numbers.", ExitCode.USAGE)
    x0, y0, x1, y1 = (float(number) for number in numbers)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _regions(boxes: dict[Box, set[Label]]) -> tuple[Region, ...]:
    return tuple(
        Region(min(labels, key=lambda label: label.name), box, difficult=len(labels) > 1)
        for box, labels in boxes.items()
    )
