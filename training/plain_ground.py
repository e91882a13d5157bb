"""Find the object in a photograph on plain ground, and leave colour charts and rulers out of it."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image
from scipy import ndimage

RIM = 0.02  # share of the longest side that is taken for ground along the four sides
DIFFERENT = 28  # of 255, in any channel: a pixel that differs more from the ground belongs to an object
UNEVEN = 10  # of 255: where the rim differs more from an even ground on average, there is no plain ground
LONGEST = 512  # pixels: objects are sought at this size
PART = 0.05  # a piece smaller than this share of the largest is dirt
CHART_EDGE = 0.1  # a chart lies within this share of a side from the picture's border
CHART_FILL = 0.8  # share of its own box that a chart covers
CHART_SIZE = 0.2  # share of the picture that a chart covers at the most
CHART_HUES = 4  # different saturated hues, of 12, that make a colour chart


def _ground(pixels: np.ndarray) -> np.ndarray | None:
    """An even ground (h, w, 3) float32: for each channel the plane through the rim; None where the rim is not even."""
    height, width = pixels.shape[:2]
    rim = max(2, round(RIM * max(height, width)))
    outside = np.ones((height, width), bool)
    outside[rim:-rim, rim:-rim] = False
    y, x = np.mgrid[:height, :width]
    terms = np.stack([np.ones_like(x), x / width, y / height], axis=-1).astype(np.float32)
    colours = pixels[outside]
    usual = np.abs(colours - np.median(colours, axis=0)).max(axis=1) < 2 * DIFFERENT
    if usual.mean() < 0.5:
        return None
    plane = np.linalg.lstsq(terms[outside][usual], colours[usual], rcond=None)[0]
    ground = terms @ plane
    return ground if np.abs(colours - ground[outside])[usual].mean() <= UNEVEN else None


def _is_chart(pixels: np.ndarray, piece: np.ndarray, place: tuple[slice, slice]) -> bool:
    """Whether a piece is a chart or ruler: a small full rectangle at the border with many hues, or grey steps."""
    height, width = pixels.shape[:2]
    rows, columns = place
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    at_border = (
        min(rows.start, height - rows.stop) < CHART_EDGE * height
        or min(columns.start, width - columns.stop) < CHART_EDGE * width
    )
    if not at_border or piece.sum() < CHART_FILL * high * wide or high * wide > CHART_SIZE * height * width:
        return False
    colours = pixels[place][piece] / 255
    saturated = colours[np.ptp(colours, axis=1) > 0.3]
    hues = np.array([colorsys.rgb_to_hsv(*colour)[0] for colour in saturated[:: max(1, len(saturated) // 500)]])
    shares = np.bincount((hues * 12).astype(int) % 12, minlength=12) / max(1, len(hues))
    if len(saturated) > 0.1 * len(colours) and (shares > 0.03).sum() >= CHART_HUES:
        return True
    # A ruler or grey scale is long, colourless, and goes from black to white.
    grey = np.ptp(colours, axis=1).mean() < 0.08 and np.ptp(np.percentile(colours, [5, 95])) > 0.5
    return bool(grey and max(high, wide) > 4 * min(high, wide))


def object_mask(image: np.ndarray) -> np.ndarray | None:
    """The pixels of the object.

    The ground is the plane of colours through the picture's rim; an object is what differs from it, holes filled.

    Args:
        image: (h, w, 3) uint8 RGB.

    Returns:
        (h, w) bool; None where the ground is not plain, or there is no object on it.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX), np.float32)
    ground = _ground(pixels)
    if ground is None:
        return None
    mask = np.pad(np.abs(pixels - ground).max(axis=2) > DIFFERENT, 4)
    mask = ndimage.binary_closing(mask, iterations=3)[4:-4, 4:-4]
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(mask))
    pieces, count = ndimage.label(mask)
    places = ndimage.find_objects(pieces)
    charts = [i for i in range(count) if _is_chart(pixels, pieces[places[i]] == i + 1, places[i])]
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[[0, *(i + 1 for i in charts)]] = 0
    if not sizes.any():
        return None
    mask = np.isin(pieces, np.flatnonzero(sizes > PART * sizes.max()))
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def object_box(image: np.ndarray) -> tuple[float, float, float, float] | None:
    """The box around the object, x0, y0, x1, y1 in pixels of ``image`` (h, w, 3); None as for `object_mask`."""
    mask = object_mask(image)
    if mask is None:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
