"""From a window that shows an instrument to the extent of the instrument.

A window says that an instrument is here, not how far it reaches: the best one is often a part of it. Class activation
says which cells speak for it (Zhou et al. 2016). So the activation of the levels that show the window's surroundings at
about the size the network knows is averaged into one map, and around the window this map is cut in two by Otsu's
threshold (Otsu 1979), the one that splits its values into the two most compact groups; the piece that holds the
window's strongest cell is the instrument. No box was needed to learn this. What lies inside it then gives
it its name: the window saw less of it, or more than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from contourpy import FillType, contour_generator
from PIL import Image, ImageDraw
from scipy.special import logsumexp, softmax
from shapely.geometry import Point, Polygon

from annotator.detection.boxes import area
from annotator.detection.pyramid import SCAN_SIDE
from annotator.detection.windows import Level
from annotator.models.backbones import STRIDE

TRAINING_SIDE = 224  # pixels: the size of object that ImageNet networks know best
OCTAVES = 0.75  # standard deviation over scales: how far from that size a level still says where an object ends
MAP_SIDE = 96  # cells of the activation map along the picture's longest side, for windows of levels up to SCAN_SIDE
FINER = 4  # parts of a cell's side, for how much of the cell an outline covers
NEGLIGIBLE = 0.01  # weight of a level, below which it is not asked for a name
WHOLE = np.array([0.0, 0.0, 1.0, 1.0])
MARGIN = 0.6  # share of a window's width and height that is looked at on each side of it


@dataclass(frozen=True)
class Activation:
    """How strongly one level of the pyramid speaks for instruments, cell by cell.

    Attributes:
        values: for any instrument, (rows, columns) float32; a cell stands for STRIDE x STRIDE pixels.
        by_label: for each label, (rows, columns, labels) float16: those of large levels are many.
        width: pixels of the level's picture, without its padding.
        height: the same.
    """

    values: np.ndarray
    by_label: np.ndarray
    width: int
    height: int


def activation(level: Level, class_labels: np.ndarray) -> Activation:
    """The activation of a level, log(sum of exp over the logits of all instruments) minus the mean of all logits.

    Unlike the log-odds that windows are scored by, it does not fall where something else, such as the player, shows
    beside the instrument. That of a label is log(sum of exp over its own logits).

    Args:
        level: or a part of one.
        class_labels: (classes,) the label of each class, -1 for "no instrument".
    """
    known = class_labels >= 0
    logits = level.logits[..., known]
    highest = logits.max(axis=-1, keepdims=True)
    belongs = np.eye(class_labels.max() + 1, dtype=logits.dtype)[class_labels[known]]
    by_label = np.log(np.maximum(np.exp(logits - highest) @ belongs, np.finfo(logits.dtype).tiny)) + highest
    values = logsumexp(by_label, axis=-1) - level.logits.mean(axis=-1)
    return Activation(values.astype(np.float32), by_label.astype(np.float16), level.width, level.height)


def activation_maps(
    activations: Sequence[Activation], width: int, height: int, frame: np.ndarray = WHOLE, side: float = MAP_SIDE
) -> np.ndarray:
    """The activation of all levels on one grid that covers a part of the picture exactly.

    Args:
        activations: of the pyramid, n levels.
        width: of the picture, any unit.
        height: of the picture, the same unit.
        frame: (4,) the part, as shares of the picture's width and height.
        side: cells that the longest side of the whole picture would have.

    Returns:
        (n, rows, columns) float32.
    """
    longest, shares = max(width, height), frame[2:] - frame[:2]
    columns, rows = (max(2, round(side * own / longest)) for own in (width * shares[0], height * shares[1]))
    maps = np.empty((len(activations), rows, columns), np.float32)
    for level, resized in zip(activations, maps, strict=True):
        covered = frame * np.array([level.width, level.height] * 2) / STRIDE  # the rest is padding
        image = Image.fromarray(level.values)
        resized[...] = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR, box=tuple(covered)))
    return maps


def scale_weights(levels: Sequence[Level | Activation], boxes: np.ndarray) -> np.ndarray:
    """How much each level says about what each window shows: most where the window is as large as a training picture.

    Args:
        levels: the pyramid, n levels.
        boxes: (m, 4) windows, as shares of the picture's width and height.

    Returns:
        (m, n) weights, each row adds up to 1: a Gaussian in octaves.
    """
    sides = np.sqrt(np.maximum(area(boxes), np.finfo(float).tiny))[:, None] * np.sqrt(
        [level.width * level.height for level in levels]
    )
    octaves = np.log2(sides / TRAINING_SIDE)
    return softmax(-0.5 * (octaves / OCTAVES) ** 2, axis=1)


def otsu_threshold(values: np.ndarray) -> float:
    """The value that splits ``values`` into two groups with the largest variance between them (Otsu 1979).

    Values at or above it are the upper group. One value, or equal values, give that value.
    """
    ordered = np.sort(values, axis=None)
    if ordered[0] == ordered[-1]:
        return float(ordered[0])
    lower = np.arange(1, len(ordered))
    sums = np.cumsum(ordered, dtype=np.float64)
    difference = sums[:-1] / lower - (sums[-1] - sums[:-1]) / (len(ordered) - lower)
    return float(ordered[1 + np.argmax(lower * (len(ordered) - lower) * difference**2)])


def surroundings(box: np.ndarray) -> np.ndarray:
    """The part of the picture that is looked at for a window's extent; both (4,), as shares of the picture."""
    width, height = box[2:] - box[:2]
    return np.clip(box + np.array([-width, -height, width, height]) * MARGIN, 0, 1)


def outline(activation: np.ndarray, box: np.ndarray) -> Polygon:
    """The extent of the instrument that a window shows.

    Args:
        activation: (rows, columns) map that covers the picture, higher where an instrument is.
        box: (4,) the window, as shares of the picture's width and height.

    Returns:
        A polygon without holes, as shares of the picture's width and height, inside [0, 1].
    """
    rows, columns = activation.shape
    size = np.array([columns, rows, columns, rows])
    around = surroundings(box) * size
    x0, y0 = np.floor(around[:2]).astype(int)
    x1, y1 = np.ceil(around[2:]).astype(int)
    region = activation[y0:y1, x0:x1]

    inner = box * size - [x0, y0, x0, y0]
    left, top = np.floor(inner[:2]).astype(int)
    right, bottom = np.maximum(np.ceil(inner[2:]).astype(int), [left + 1, top + 1])
    peak = np.unravel_index(np.argmax(region[top:bottom, left:right]), region[top:bottom, left:right].shape)
    peak_y, peak_x = int(peak[0]) + top, int(peak[1]) + left

    # A frame of low values closes the contour at the region's border; cell (0, 0) of the frame has its centre at -0.5.
    peak_value = float(region[peak_y, peak_x])
    threshold = otsu_threshold(region)
    if threshold > peak_value:  # something stronger beside the window would leave no more than its strongest cell
        threshold = otsu_threshold(np.minimum(region, peak_value))
    low = threshold - max(1e-3, float(np.ptp(region)))
    framed = np.pad(np.maximum(region, low), 1, constant_values=low)
    lines = contour_generator(z=framed, fill_type=FillType.OuterOffset).filled(threshold - 1e-6, np.inf)
    centre = Point(peak_x + 1, peak_y + 1)
    pieces = [Polygon(points[offsets[0] : offsets[1]]) for points, offsets in zip(*lines, strict=True)]
    piece = min(pieces, key=centre.distance)
    corners = np.asarray(piece.exterior.coords) - 0.5 + [x0, y0]
    shares = np.clip(corners / [columns, rows], 0, 1)
    return Polygon(shares)


def outlines(
    activations: Sequence[Activation], boxes: np.ndarray, levels: np.ndarray, width: int, height: int
) -> list[Polygon]:
    """The extent of what each window shows, as shares of the picture's width and height.

    A window of a level beyond `SCAN_SIDE` is read from a map that is as much finer as the level is larger.

    Args:
        activations: of the pyramid.
        boxes: (n, 4) windows, as shares of the picture's width and height.
        levels: (n,) positions in the pyramid of the levels that they were found on.
        width: of the picture, any unit.
        height: of the picture, the same unit.
    """
    maps = activation_maps(activations, width, height)
    found = []
    for box, weights, level in zip(boxes, scale_weights(activations, boxes), levels, strict=True):
        finer = max(activations[level].width, activations[level].height) / SCAN_SIDE
        if finer <= 1:
            found.append(outline(np.tensordot(weights, maps, axes=1), box))
            continue
        frame = surroundings(box)
        near = activation_maps(activations, width, height, frame, MAP_SIDE * finer)
        size = frame[2:] - frame[:2]
        own = outline(np.tensordot(weights, near, axes=1), (box - np.tile(frame[:2], 2)) / np.tile(size, 2))
        found.append(Polygon(frame[:2] + np.asarray(own.exterior.coords) * size))
    return found


def labels_inside(activations: Sequence[Activation], outlines: Sequence[Polygon]) -> np.ndarray:
    """The label that the inside of each outline speaks for most, on the mean of its cells and over the levels.

    Args:
        activations: of the pyramid.
        outlines: n, as shares of the picture's width and height.

    Returns:
        (n,) int64.
    """
    boxes = np.array([outline.bounds for outline in outlines]).reshape(-1, 4)
    found = np.empty(len(outlines), np.int64)
    for number, weights in enumerate(scale_weights(activations, boxes)):
        telling = [int(level) for level in np.flatnonzero(weights >= NEGLIGIBLE)]
        means = [_mean_inside(activations[level], outlines[number]) for level in telling]
        found[number] = np.argmax(weights[telling] @ means)
    return found


def _mean_inside(level: Activation, outline: Polygon) -> np.ndarray:
    corners, box = np.asarray(outline.exterior.coords), np.array(outline.bounds)
    cells = np.array([level.width, level.height]) / STRIDE
    rows, columns = level.values.shape
    x0, y0 = np.minimum(np.floor(box[:2] * cells).astype(int), [columns - 1, rows - 1])
    x1, y1 = np.clip(np.ceil(box[2:] * cells).astype(int), [x0 + 1, y0 + 1], [columns, rows])  # 1 may be rounded up
    mask = Image.new("L", ((x1 - x0) * FINER, (y1 - y0) * FINER))
    places = (corners * cells - [x0, y0]) * FINER - 0.5  # Pillow's pixels have whole numbers at their middle
    ImageDraw.Draw(mask).polygon(list(map(tuple, places)), fill=255)
    cover = np.asarray(mask.reduce(FINER), np.float32)
    if not cover.any():  # smaller than a part of a cell
        cover = np.ones_like(cover)
    inside = level.by_label[y0:y1, x0:x1].astype(np.float32)
    mean: np.ndarray = np.tensordot(cover, inside, axes=2) / cover.sum()
    return mean


def stretched(outline: Polygon, box: np.ndarray) -> Polygon:
    """An outline stretched and moved so that a box (4,) bounds it: its shape, where the box is known better."""
    x0, y0, x1, y1 = outline.bounds
    corners = (np.asarray(outline.exterior.coords) - [x0, y0]) / [x1 - x0, y1 - y0]
    return Polygon(box[:2] + corners * (box[2:] - box[:2]))
