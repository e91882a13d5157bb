"""The image pyramid: one picture at several sizes, so that windows of one size find instruments of all sizes."""

from __future__ import annotations

import numpy as np
from PIL import Image

LEVEL_SIDES = (224, 320, 448, 640, 896, 1280, 1792)  # longest sides in pixels, half an octave apart
SCAN_SIDE = LEVEL_SIDES[-1]  # more pixels than this on the longest side are looked at on request only
MAXIMUM_ENLARGEMENT = 1.5  # a picture enlarged more shows the network nothing but blur


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Width and height in pixels of each level for a picture of the given size, smallest first, at least one."""
    longest = max(width, height)
    sides = [side for side in LEVEL_SIDES if side <= MAXIMUM_ENLARGEMENT * longest] or [LEVEL_SIDES[0]]
    return [(max(1, round(width * side / longest)), max(1, round(height * side / longest))) for side in sides]


def finer_sizes(width: int, height: int, longest_side: int) -> list[tuple[int, int]]:
    """Width and height in pixels of the levels beyond `SCAN_SIDE`, half an octave apart, largest first.

    Args:
        width: of the picture at full resolution.
        height: the same.
        longest_side: pixels that may be looked at. The largest level is the last one that has no more of them, and no
            more than the picture itself.
    """
    longest = max(width, height)
    sides = [2 * LEVEL_SIDES[-2], 2 * LEVEL_SIDES[-1]]
    while sides[-1] <= min(longest_side, longest):
        sides.append(2 * sides[-2])
    fitting = [side for side in reversed(sides) if side <= min(longest_side, longest)]
    return [(max(1, round(width * side / longest)), max(1, round(height * side / longest))) for side in fitting]


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An RGB picture (h, w, 3) uint8 at another size, low-pass filtered where it shrinks."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def pad(image: np.ndarray, multiple: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture (h, w, 3) with ``colour`` added at the right and the bottom up to multiples of ``multiple``."""
    height, width = image.shape[:2]
    padded = np.empty((height + -height % multiple, width + -width % multiple, 3), image.dtype)
    padded[...] = colour
    padded[:height, :width] = image
    return padded
