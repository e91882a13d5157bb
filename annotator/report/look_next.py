"""The page that says which images to look through next."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2


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
        untagged: why they do not carry it, empty if they do.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files(__package__).joinpath("look_next.html.j2").read_text("utf-8"))
    shown = [(row.name, row.doubt, base64.b64encode(row.thumbnail).decode()) for row in rows]
    return template.render(rows=shown, among=among, tag=tag, untagged=untagged)
