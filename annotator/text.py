"""Text that others wrote, made fit to stand in a line of ours."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import ImageFont

SMALLEST = 6  # pixels of letters
JOINERS = "\u200c\u200d"  # between letters of Persian and of Indian scripts, which are misspelt without


def printable(text: str) -> str:
    """The text with a question mark for each control character, line break, change of direction and half character."""
    if text.isprintable():  # at once: small pictures in pages are texts of megabytes
        return text
    return "".join(letter if _harmless(letter) else "?" for letter in text)


def _harmless(letter: str) -> bool:
    # To Python no space but the plain one is printable: others stand in French, in Japanese, in times of macOS.
    return letter.isprintable() or letter in JOINERS or unicodedata.category(letter) == "Zs"


def fitting_font(texts: Iterable[str], width: int, largest: int) -> ImageFont.FreeTypeFont:
    """The largest font of at most so many pixels, and at least `SMALLEST`, in which each text is no wider than that."""
    every = list(texts)
    for size in range(largest, SMALLEST, -1):
        font = _font(size)
        if all(font.getlength(text) <= width for text in every):
            return font
    return _font(SMALLEST)


def shortened(text: str, length: int) -> str:
    """The text, of which no more than ``length`` letters are left: the last stands for the rest."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of matplotlib: Pillow's own has no letter beyond those of English."""
    import matplotlib as mpl  # here, for every job needs this module, and few draw text

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
