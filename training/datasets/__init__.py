"""Labelled pictures, wherever they come from: every loader reads a folder and gives a list of `Picture`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from annotator.errors import AnnotatorError, ExitCode
from training.datasets import coco, folder, mimo, minerva, openimages
from training.datasets.pictures import Picture, Region, clip, label_named, labels_of, size_of

__all__ = ["FORMATS", "Picture", "Region", "label_named", "labels_of", "read"]

FORMATS: dict[str, Callable[[Path], list[Picture]]] = {
    "folder": folder.read,
    "mimo": mimo.read,
    "openimages": openimages.read,
    "minerva": minerva.read,
    "coco": coco.read,
}


def read(path: Path, format_name: str | None = None) -> list[Picture]:
    """The pictures of a folder. Boxes are clipped to their pictures; that some are left out is said.

    Args:
        path: the folder.
        format_name: a key of `FORMATS`; None: "coco" where there is an ``annotations.json``, else "folder".

    Raises:
        AnnotatorError: (USAGE) there is no such folder, or it does not hold what the format says.
    """
    if not path.is_dir():
        raise AnnotatorError(f"There is no folder {str(path)!r}. Give the folder of the pictures.", ExitCode.USAGE)
    guessed = "coco" if (path / coco.ANNOTATIONS).is_file() else "folder"
    if format_name and coco.is_ours(path):  # among folders of another format: what stylise and compose write
        format_name = "coco"
    pictures = FORMATS[format_name or guessed](path)
    if not pictures:
        raise AnnotatorError(f"There are no labelled pictures in {str(path)!r}.", ExitCode.USAGE)
    return list(_with_boxes_inside(pictures))


def _with_boxes_inside(pictures: Iterable[Picture]) -> Iterator[Picture]:
    lost: list[str] = []
    for picture in pictures:
        boxed = any(region.box is not None for region in picture.regions)
        size = size_of(picture.path) if boxed else None
        if size is None:  # nothing to clip, or unreadable, which training tells
            yield picture
            continue
        regions = []
        for region in picture.regions:
            box = clip(region.box, *size) if region.box is not None else None
            if region.box is None or box is not None:
                regions.append(replace(region, box=box))
        lost += [picture.path.name] * (len(picture.regions) - len(regions))
        yield replace(picture, regions=tuple(regions))
    if lost:
        print(
            f"{len(lost)} boxes lie outside their picture or are less than a pixel wide, the first of them in "
            f"{lost[0]!r}: left out.",
            file=sys.stderr,
        )
