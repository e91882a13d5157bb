"""Text that others wrote, made fit to stand in a line of ours."""

from __future__ import annotations

from collections.abc import Iterable

from PIL import ImageFont

SMALLEST = 6  # pixels of letters


def printable(text: str) -> str:
    """The text with a question mark for each control character, line break, change of direction and half character."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def fitting_font(texts: Iterable[str], width: int, largest: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest font of at most so many pixels, and at least `SMALLEST`, in which each text is no wider than that."""
    every = list(texts)
    for size in range(largest, SMALLEST, -1):
        font = ImageFont.load_default(size)
        if all(font.getlength(text) <= width for text in every):
            return font
    return ImageFont.load_default(SMALLEST)
