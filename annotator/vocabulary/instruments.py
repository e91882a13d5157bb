"""The instruments we know.

``mimo.tsv`` lists the terms of the MIMO thesaurus (http://www.mimo-db.eu, CC BY 4.0) with their family, category and
Hornbostel-Sachs notations. Families (Violins) and categories (Stringed instruments) are terms themselves.
``aliases.tsv`` adds other names, tagged with their language, and the classes of ImageNet-1k that show the instrument.
``homonyms.tsv`` lists names of MIMO that, in a project about pictures, more likely mean something else.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Instrument:
    """A term of the MIMO thesaurus: an instrument, a family or a category.

    Attributes:
        mimo_id: its number; http://www.mimo-db.eu/InstrumentsKeywords/<mimo_id> is its address.
        name: in English, as MIMO writes it.
        family: name of its family (level 2); a family's own name for a family.
        category: name of its category (level 1).
        hornbostel_sachs: notations of the Hornbostel-Sachs classification, as revised by MIMO (2011); may be empty.
        aliases: (language, name) pairs.
        imagenet_classes: positions in ImageNet-1k's list of classes that show it; empty for most.
    """

    mimo_id: int
    name: str
    family: str
    category: str
    hornbostel_sachs: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...]
    imagenet_classes: tuple[int, ...]

    @property
    def is_heading(self) -> bool:
        """Whether it is a family or a category."""
        return self.name in (self.family, self.category)


def _read(name: str) -> list[dict[str, str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


@cache
def by_mimo_id() -> dict[int, Instrument]:
    """Every instrument, family and category by its MIMO id."""
    known = {row["mimo_id"]: row for row in _read("aliases.tsv")}
    instruments = {}
    for row in _read("mimo.tsv"):
        more = known.get(row["mimo_id"], {"aliases": "", "imagenet_classes": ""})
        aliases = (pair.split(":", 1) for pair in more["aliases"].split("; ") if pair)
        instruments[int(row["mimo_id"])] = Instrument(
            mimo_id=int(row["mimo_id"]),
            name=row["name"],
            family=row["family"],
            category=row["category"],
            hornbostel_sachs=tuple(row["hornbostel_sachs"].split()),
            aliases=tuple((language, name) for language, name in aliases),
            imagenet_classes=tuple(int(position) for position in more["imagenet_classes"].split(",") if position),
        )
    return instruments


@cache
def _headings() -> dict[tuple[str, str], list[Instrument]]:
    """Families and categories by category and name: each category has a family "Others" of its own.

    A few are listed twice, as a family and as its main instrument: Cymbals (2451) and Cymbals (2471).
    """
    headings: dict[tuple[str, str], list[Instrument]] = {}
    for item in by_mimo_id().values():
        if item.is_heading:
            headings.setdefault((item.category, item.name), []).append(item)
    return headings


def ancestors(instrument: Instrument) -> list[Instrument]:
    """The terms that are wider than an instrument, nearest first: its family, then its category."""
    names = dict.fromkeys([instrument.family, instrument.category])
    found = [heading for name in names for heading in _headings().get((instrument.category, name), [])]
    return [heading for heading in found if heading.mimo_id != instrument.mimo_id]


@cache
def homonyms() -> list[str]:
    """Names of instruments that alone do not mean the instrument for certain: Wagon, a zither."""
    return [row["name"] for row in _read("homonyms.tsv")]


def imagenet_instruments() -> list[Instrument]:
    """The instruments that ImageNet-1k has a class for, by name."""
    return sorted((item for item in by_mimo_id().values() if item.imagenet_classes), key=lambda item: item.name)
