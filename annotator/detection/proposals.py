"""Proposals: the boxes that a model's box head offers on the levels of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator.detection.windows import Level
from annotator.models.backbones import STRIDE
from annotator.models.box_head import BOX_STRIDE

PROPOSALS = 1000  # boxes of one picture that are looked at, the surest


def proposals(
    levels: Sequence[Level], others: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The surest boxes of all levels.

    Args:
        levels: the pyramid, or parts of it, with what the box head said.
        others: what this gave for other levels or parts of the picture.

    Returns:
        Boxes, (n, 4) shares of the picture's width and height in [0, 1], and their objectness as logits, (n,); at most
        `PROPOSALS`, surest first.
    """
    boxes, objectness = [], []
    for level in levels:
        assert level.boxes is not None  # noqa: S101
        rows, columns = level.boxes.shape[:2]
        first = np.array([level.top + level.known_rows, level.left + level.known_columns]) * (STRIDE // BOX_STRIDE)
        y, x = ((np.mgrid[:rows, :columns] + first[:, None, None] + 0.5) * BOX_STRIDE).astype(np.float32)
        inside = (x - BOX_STRIDE / 2 < level.width) & (y - BOX_STRIDE / 2 < level.height)  # the rest is padding
        middles = np.stack([x, y, x, y], axis=-1)
        size = np.array([level.width, level.height, level.width, level.height], np.float32)
        boxes.append(np.clip((level.boxes[..., 1:] + middles)[inside] / size, 0, 1))
        objectness.append(level.boxes[inside, 0])
    if others is not None:
        boxes.append(others[0])
        objectness.append(others[1])
    every_box, every_objectness = np.concatenate(boxes), np.concatenate(objectness)
    chosen = np.argsort(-every_objectness, kind="stable")[:PROPOSALS]
    return every_box[chosen].astype(np.float64), every_objectness[chosen].astype(np.float64)
