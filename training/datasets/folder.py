"""Photographs in class folders, or listed in a table: what people collect from museums or the web."""

from __future__ import annotations

from pathlib import Path

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import picture_files
from training.datasets.pictures import PARTS, Picture, Region, group_of_file, label_named
from training.datasets.tables import inside, read_table

TABLE = "labels.csv"


def read(path: Path) -> list[Picture]:
    """The pictures of a folder, each showing one instrument that its class folder or table names.

    Args:
        path: holds ``labels.csv`` with the columns ``file`` and ``label`` and, where known, ``mimo_id`` and ``object``
            (whatever tells museum objects apart), ``split`` and ``sources`` (see `Picture`; sources apart by blanks);
            or, without that table, one folder a class with pictures in it.

    Returns:
        Pictures in the table's order, or by name; files in class folders that are no pictures are left out.

    Raises:
        AnnotatorError: (USAGE) the table is damaged, a MIMO id is no number, or a split is none.
    """
    if (path / TABLE).is_file():
        return [_from_row(path, row) for row in read_table(path / TABLE, ("file", "label"))]
    return [
        Picture(file, group_of_file(path, file.relative_to(path).as_posix()), (Region(label_named(folder.name)),))
        for folder in sorted(path.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in picture_files(folder)
    ]


def _from_row(path: Path, row: dict[str, str]) -> Picture:
    number = row.get("mimo_id", "")
    if number and not number.isdecimal():
        raise AnnotatorError(f"{TABLE}: the MIMO id {number!r} of {row['file']!r} is no number.", ExitCode.USAGE)
    label = label_named(row["label"], int(number) if number else None)
    part = row.get("split", "")
    if part not in ("", *PARTS):
        raise AnnotatorError(
            f"{TABLE}: the split {part!r} of {row['file']!r} is none of {', '.join(PARTS)}.", ExitCode.USAGE
        )
    return Picture(
        inside(path, row["file"]),
        row.get("object") or group_of_file(path, row["file"]),
        (Region(label),),
        part,
        tuple(row.get("sources", "").split()),
    )
