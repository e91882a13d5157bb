"""From labelled regions to what a classifier is fed: square crops, varied without changing what they show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from annotator.detection.boxes import area, intersection
from annotator.models.bundle import Label
from annotator.pictures import open_rgb
from training.datasets.pictures import Box, Picture, clip

SIDE = 224  # pixels of a crop: the size at which ImageNet networks were trained
MARGIN = 0.05  # of a box's longest side, added around it
AWAY = 0.1  # share of the smaller of a window and a region that may be shared, if the window shows nothing


@dataclass(frozen=True)
class Sample:
    """A crop and what it shows.

    Attributes:
        path: of the picture.
        box: x0, y0, x1, y1 in its pixels; None for all of it.
        target: position of the label, -1 for "no instrument".
    """

    path: Path
    box: Box | None
    target: int


def touches(windows: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """(n,) bool: whether a window (n, 4) shares more than `AWAY` with any region (k, 4), in one frame of pixels."""
    shared = intersection(windows[:, None], regions)
    return np.asarray((shared > AWAY * np.minimum(area(windows)[:, None], area(regions))).any(axis=1))


def samples_of(pictures: Iterable[Picture], labels: Sequence[Label]) -> list[Sample]:
    """A sample for each region that is not difficult and whose label is among ``labels``."""
    position = {label: number for number, label in enumerate(labels)}
    return [
        Sample(picture.path, region.box, position[region.label])
        for picture in pictures
        for region in picture.regions
        if not region.difficult and region.label in position
    ]


def crop(image: np.ndarray, box: Box | None) -> np.ndarray:
    """A square crop at `SIDE` pixels, never stretched: the longer side fits, the rest has the colour of the border.

    Args:
        image: (h, w, 3) uint8 RGB.
        box: what to show, with a small margin around it; None for the whole picture.

    Returns:
        (SIDE, SIDE, 3) uint8.
    """
    height, width = image.shape[:2]
    if box is not None:
        margin = MARGIN * max(box[2] - box[0], box[3] - box[1])
        around = clip((box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin), width, height)
        x0, y0, x1, y1 = (round(side) for side in around or (0, 0, width, height))
        image = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    padded = np.full((SIDE, SIDE, 3), _border_colour(resized), np.uint8)
    padded[top : top + size[1], left : left + size[0]] = resized
    return padded


def _border_colour(image: np.ndarray) -> tuple[int, ...]:
    """The median colour of a picture's upper and lower edge."""
    edges = np.concatenate([image[:2], image[-2:]]).reshape(-1, 3)
    return tuple(int(value) for value in np.median(edges, axis=0))


def load(sample: Sample) -> np.ndarray:
    """The crop of a sample, (SIDE, SIDE, 3) uint8.

    Raises:
        AnnotatorError: (BAD_IMAGE) its picture cannot be read.
    """
    return crop(open_rgb(sample.path), sample.box)


def varied(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The crop flipped, turned by up to 15 degrees, moved, scaled and recoloured at random: the label stays true.

    Upside down is left out, for no one plays so, and a flip is only for learning: handedness means something to a
    musicologist, so evidence is never flipped.

    Args:
        image: (SIDE, SIDE, 3) uint8.
        random: decides.
    """
    picture = Image.fromarray(image)
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    angle, scale = np.deg2rad(random.uniform(-15, 15)), np.exp(random.uniform(-0.25, 0.25))
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    middle = SIDE / 2
    move_x, move_y = random.uniform(-0.1, 0.1, 2) * SIDE
    matrix = (
        cos,
        sin,
        middle - cos * (middle + move_x) - sin * (middle + move_y),
        -sin,
        cos,
        middle + sin * (middle + move_x) - cos * (middle + move_y),
    )
    picture = picture.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_border_colour(image)
    )
    for enhance, spread in ((ImageEnhance.Brightness, 0.3), (ImageEnhance.Contrast, 0.3), (ImageEnhance.Color, 0.6)):
        picture = enhance(picture).enhance(float(np.exp(random.uniform(-spread, spread))))
    return np.asarray(picture)
