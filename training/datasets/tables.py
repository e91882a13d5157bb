"""Read a dataset's CSV tables and JSON files, and say in one line what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from annotator.errors import AnnotatorError, ExitCode


def as_csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """A table as the bytes of a CSV file, UTF-8; of names of files that are none, as of old archives, the codes."""
    table = io.StringIO()
    csv.writer(table).writerows([header, *rows])
    return table.getvalue().encode(errors="backslashreplace")


def read_table(path: Path, *layouts: Collection[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, surrounding blanks removed.

    Args:
        path: the file, UTF-8.
        layouts: the columns that it must have; of several layouts those of any one.

    Raises:
        AnnotatorError: (USAGE) it is missing, is no CSV text, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            found = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = found
            rows = [{key: (value or "").strip() for key, value in row.items() if key is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotatorError(f"The table {path.name!r} cannot be read: {error}.", ExitCode.USAGE) from error
    if not any(set(columns) <= set(found) for columns in layouts):
        missing = [name for name in layouts[0] if name not in found]
        raise AnnotatorError(
            f"The table {path.name!r} has no column {', '.join(missing)}; it has {', '.join(found)}.", ExitCode.USAGE
        )
    return rows


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        AnnotatorError: (USAGE) it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AnnotatorError(f"The file {path.name!r} cannot be read: {error}.", ExitCode.USAGE) from error


def inside(folder: Path, name: str) -> Path:
    """The file of that name under a folder.

    Raises:
        AnnotatorError: (USAGE) the name leads out of the folder.
    """
    # By the letter: pictures may be links to where they really lie.
    path = Path(os.path.normpath(Path.cwd() / folder / name))
    if not path.is_relative_to(os.path.normpath(Path.cwd() / folder)):
        raise AnnotatorError(
            f"The file name {name!r} leads out of its folder. Name files relative to it.", ExitCode.USAGE
        )
    return Path(os.path.normpath(folder / name))
