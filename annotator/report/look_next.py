"""The page that says which images to look through next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.report.template import filled


@dataclass(frozen=True)
class Row:
    """An image.

    Attributes:
        name: for people.
        doubt: mistakes to be expected in it.
        thumbnail: a JPEG.
    """

    name: str
    doubt: float
    thumbnail: bytes


def write_look_next_page(rows: Sequence[Row], among: int, tag: str, untagged: str = "") -> str:
    """The page as HTML that needs nothing else.

    Args:
        rows: images, first to last.
        among: how many images they were chosen from.
        tag: that they carry in Cytomine.
        untagged: why some of them, or all, do not carry it, empty if all do.
    """
    return filled(__package__, "look_next.html.j2", rows=rows, among=among, tag=tag, untagged=untagged)
