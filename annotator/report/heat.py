"""Masks over pictures, for people."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw

from annotator.pictures import jpeg
from annotator.text import fitting_font, printable

STRENGTH = 0.75  # of the colours where a mask is 1
CAPTION, LETTERS = 32, 24  # pixels: the line of text under a picture, and its letters where they fit


def over(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask as heat over a greyed picture: the higher, the brighter and the less of the picture shows through.

    Colours follow the root of the mask, for masks are mostly low; the files for other programs hold it as it is.

    Args:
        picture: (h, w, 3) uint8.
        mask: in [0, 1], of the picture's shape at any size.

    Returns:
        (h, w, 3) uint8.
    """
    height, width = picture.shape[:2]
    fitted = Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    shown = np.sqrt(np.clip(np.asarray(fitted), 0, 1))
    heat = mpl.colormaps["inferno"](shown)[..., :3] * 255
    grey = np.asarray(Image.fromarray(picture).convert("L"), np.float32)[..., None]
    share = STRENGTH * shown[..., None]
    return np.round(grey * (1 - share) + heat * share).astype(np.uint8)


def evidence_picture(crop: np.ndarray, visual_backprop: np.ndarray, class_mask: np.ndarray, instrument: str) -> bytes:
    """A crop, and beside it both masks over it, each with a line that says what it is.

    Args:
        crop: (h, w, 3) uint8.
        visual_backprop: in [0, 1], of the crop's shape.
        class_mask: the same.
        instrument: what the mask of the class is about.

    Returns:
        A JPEG.
    """
    height, width = crop.shape[:2]
    sheet = Image.new("RGB", (3 * width, height + CAPTION), "white")
    texts = ("picture", "where the network looks", f"what speaks for {printable(instrument)}")
    draw, font = ImageDraw.Draw(sheet), fitting_font(texts, width - 8, LETTERS)
    for number, (shown, text) in enumerate(
        zip((crop, over(crop, visual_backprop), over(crop, class_mask)), texts, strict=True)
    ):
        sheet.paste(Image.fromarray(shown), (number * width, 0))
        draw.text((number * width + 4, height + 3), text, "black", font)
    return jpeg(sheet, 85)
