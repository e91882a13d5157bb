"""Proposals: the boxes that a model's box head offers on the levels of a pyramid, and what they show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator.detection.boxes import area
from annotator.detection.windows import Level, Windows, integral_image, label_probabilities, window_means
from annotator.models.backbones import STRIDE
from annotator.models.box_head import BOX_STRIDE

PROPOSALS = 1000  # boxes of one picture that are looked at, the surest
NAMING_SIDE = 180.0  # pixels: boxes are named on the level where their size is nearest to this


def proposals(levels: Sequence[Level]) -> tuple[np.ndarray, np.ndarray]:
    """The surest boxes of all levels.

    Args:
        levels: the pyramid, with what the box head said.

    Returns:
        Boxes, (n, 4) shares of the picture's width and height in [0, 1], none of them empty, and their objectness as
        logits, (n,); at most `PROPOSALS`, surest first.
    """
    boxes, objectness = [], []
    for level in levels:
        assert level.boxes is not None  # noqa: S101
        rows, columns = level.boxes.shape[:2]
        y, x = ((np.mgrid[:rows, :columns] + 0.5) * BOX_STRIDE).astype(np.float32)
        inside = (x - BOX_STRIDE / 2 < level.width) & (y - BOX_STRIDE / 2 < level.height)  # the rest is padding
        middles = np.stack([x, y, x, y], axis=-1)
        size = np.array([level.width, level.height, level.width, level.height], np.float32)
        boxes.append(np.clip((level.boxes[..., 1:] + middles)[inside] / size, 0, 1))
        objectness.append(level.boxes[inside, 0])
    every_box, every_objectness = np.concatenate(boxes), np.concatenate(objectness)
    solid = np.flatnonzero((every_box[:, 2] > every_box[:, 0]) & (every_box[:, 3] > every_box[:, 1]))
    chosen = solid[np.argsort(-every_objectness[solid], kind="stable")[:PROPOSALS]]
    return every_box[chosen].astype(np.float64), every_objectness[chosen].astype(np.float64)


def named(levels: Sequence[Level], boxes: np.ndarray, class_labels: np.ndarray) -> Windows:
    """What boxes show: the softmax of the mean logits of the cells that each covers, on the level that suits its size.

    Args:
        levels: the pyramid.
        boxes: (n, 4) shares of the picture's width and height.
        class_labels: (classes,) the label of each class, -1 for "no instrument".

    Returns:
        The boxes as windows, in their order.
    """
    sides = np.sqrt(area(boxes))[:, None] * np.sqrt([level.width * level.height for level in levels])
    nearest = np.abs(np.log(np.maximum(sides, 1) / NAMING_SIDE)).argmin(axis=1)
    cells = np.zeros((len(boxes), 4), np.int64)
    probabilities = np.zeros((len(boxes), class_labels.max() + 1), np.float32)
    for position, level in enumerate(levels):
        own = np.flatnonzero(nearest == position)
        if len(own):
            cells[own] = covered_cells(level, boxes[own])
            means = window_means(integral_image(level.logits), cells[own])
            probabilities[own] = label_probabilities(means, class_labels)
    return Windows(boxes, probabilities, nearest, cells)


def covered_cells(level: Level, boxes: np.ndarray) -> np.ndarray:
    """The cells of a level that boxes (n, 4), in shares, cover: (n, 4) int64 x0, y0, x1, y1, at least one each."""
    rows, columns = level.logits.shape[:2]
    cells = np.rint(boxes * np.array([level.width, level.height, level.width, level.height]) / STRIDE).astype(np.int64)
    low = np.minimum(cells[:, :2], [columns - 1, rows - 1])
    return np.concatenate([low, np.maximum(cells[:, 2:], low + 1)], axis=1)
