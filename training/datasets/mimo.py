"""Photographs of museum objects as MIMO collects them: several views an object, colour charts beside it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from annotator.errors import AnnotatorError
from annotator.pictures import open_rgb
from training.datasets import folder
from training.datasets.pictures import Picture
from training.plain_ground import object_box

VIEW = re.compile(r"(?<=.)[-_ ](?:\d{1,2}|[a-h]|front|back|side|detail)$", re.IGNORECASE)  # M1234_2, M1234-b


def read(path: Path) -> list[Picture]:
    """The pictures of a folder as `folder.read` gives them, with two things more.

    The region is the box around the object, so that colour charts and rulers stay outside it; where the ground is not
    plain it remains the whole picture. Files are never changed. Without a column ``object`` the views of one object
    are told by their names: what is left without a view number at the end (``M1234_1.jpg``, ``M1234_2.jpg``).
    """
    return [_with_box(replace(picture, group=_object_of(picture))) for picture in folder.read(path)]


def _object_of(picture: Picture) -> str:
    if not picture.group.endswith(picture.path.suffix):
        return picture.group  # the table's own
    return VIEW.sub("", picture.group[: -len(picture.path.suffix)])


def _with_box(picture: Picture) -> Picture:
    try:
        box = object_box(open_rgb(picture.path))
    except AnnotatorError:  # training says which pictures it cannot read
        return picture
    return replace(picture, regions=tuple(replace(region, box=box) for region in picture.regions))
