"""OpenImages: its class and box tables beside a folder of images."""

from __future__ import annotations

import csv
from pathlib import Path

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import picture_files
from annotator.vocabulary import matching
from training.datasets.pictures import Picture, Region, label_named, size_of
from training.datasets.tables import read_table

COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")


def read(path: Path) -> list[Picture]:
    """The pictures of which the tables know an instrument.

    Args:
        path: holds ``*class-descriptions*.csv`` (/m/0342h,Guitar; no header), one or more ``*bbox*.csv`` and the
            images, named by their ImageID, at any depth.

    Returns:
        Pictures by ImageID, boxes in pixels. Classes that are no instruments are left out; groups (IsGroupOf) and
        drawings of instruments (IsDepiction) are difficult.

    Raises:
        AnnotatorError: (USAGE) a table is missing or damaged.
    """
    names = _class_names(path)
    files = {file.stem: file for file in picture_files(path)}
    tables = sorted(path.glob("*bbox*.csv"))
    if not tables:
        raise AnnotatorError(f"There is no table *bbox*.csv in {str(path)!r}.", ExitCode.USAGE)
    rows: dict[str, list[dict[str, str]]] = {}
    for table in tables:
        for row in read_table(table, COLUMNS):
            if row["ImageID"] in files and matching(names.get(row["LabelName"], "")) is not None:
                rows.setdefault(row["ImageID"], []).append(row)
    return [Picture(files[image], image, _regions(files[image], own, names)) for image, own in sorted(rows.items())]


def _class_names(path: Path) -> dict[str, str]:
    tables = sorted(path.glob("*class-descriptions*.csv"))
    if not tables:
        raise AnnotatorError(f"There is no table *class-descriptions*.csv in {str(path)!r}.", ExitCode.USAGE)
    try:
        with tables[0].open(encoding="utf-8-sig", newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotatorError(f"The table {tables[0].name!r} cannot be read: {error}.", ExitCode.USAGE) from error


def _regions(file: Path, rows: list[dict[str, str]], names: dict[str, str]) -> tuple[Region, ...]:
    size = size_of(file)
    if size is None:
        return ()
    width, height = size
    regions = []
    for row in rows:
        try:
            x0, y0, x1, y1 = (float(row[side]) for side in ("XMin", "YMin", "XMax", "YMax"))
        except ValueError as error:
            raise AnnotatorError(f"A box of image {row['ImageID']!r} is no box: {error}.", ExitCode.USAGE) from error
        box = (x0 * width, y0 * height, x1 * width, y1 * height)
        difficult = "1" in (row.get("IsGroupOf"), row.get("IsDepiction"))
        regions.append(Region(label_named(names[row["LabelName"]]), box, difficult))
    return tuple(regions)
