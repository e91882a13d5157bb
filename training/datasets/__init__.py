"""Labelled pictures, wherever they come from: every loader reads a folder and gives a list of `Picture`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from annotator.errors import AnnotatorError, ExitCode
from training.datasets import coco, folder, mimo, minerva, openimages
from training.datasets.pictures import Picture, Region, label_named, labels_of

__all__ = ["FORMATS", "Picture", "Region", "label_named", "labels_of", "read"]

FORMATS: dict[str, Callable[[Path], list[Picture]]] = {
    "folder": folder.read,
    "mimo": mimo.read,
    "openimages": openimages.read,
    "minerva": minerva.read,
    "coco": coco.read,
}


def read(path: Path, format_name: str | None = None) -> list[Picture]:
    """The pictures of a folder.

    Args:
        path: the folder.
        format_name: a key of `FORMATS`; None: "coco" where there is an ``annotations.json``, else "folder".

    Raises:
        AnnotatorError: (USAGE) there is no such folder, or it does not hold what the format says.
    """
    if not path.is_dir():
        raise AnnotatorError(f"There is no folder {str(path)!r}. Give the folder of the pictures.", ExitCode.USAGE)
    guessed = "coco" if (path / coco.ANNOTATIONS).is_file() else "folder"
    pictures = FORMATS[format_name or guessed](path)
    if not pictures:
        raise AnnotatorError(f"There are no labelled pictures in {str(path)!r}.", ExitCode.USAGE)
    return pictures
