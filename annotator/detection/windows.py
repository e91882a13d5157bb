"""Sliding windows on a dense map of logits.

The head is linear, so the logits of a window are the mean of the logits of its cells, and an integral image gives that
mean for any window in four look-ups. First every window is judged by its mean *evidence*, a cheap stand-in with one
number a label; the best few are then scored exactly, with the softmax of their mean logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from annotator.models.backbones import STRIDE

# Height and width in cells of STRIDE pixels: squares of 5, 7 and 10 cells and about 1:2 and 1:3 of the same area.
SHAPES = ((5, 5), (3, 7), (7, 3), (7, 7), (5, 9), (9, 5), (4, 12), (12, 4), (10, 10), (6, 14), (14, 6))
CANDIDATES = 2000  # windows of one picture that are scored exactly


@dataclass(frozen=True)
class Level:
    """What the network said about one level of the pyramid.

    Attributes:
        logits: (rows, columns, classes) float32, divided by the temperature; a cell stands for STRIDE x STRIDE pixels.
        width: pixels of the level's picture, without its padding.
        height: the same.
        boxes: what the box head said (`annotator.models.box_head.build`), None for a model without one.
    """

    logits: np.ndarray
    width: int
    height: int
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Windows:
    """Scored windows of one picture.

    Attributes:
        boxes: (n, 4) x0, y0, x1, y1 as shares of the picture's width and height, in [0, 1].
        probabilities: (n, labels) of each label; what is missing to 1 is "no instrument".
        levels: (n,) positions in the pyramid.
        cells: (n, 4) x0, y0, x1, y1 in cells of that level.
    """

    boxes: np.ndarray
    probabilities: np.ndarray
    levels: np.ndarray
    cells: np.ndarray


def _shares(logits: np.ndarray, class_labels: np.ndarray) -> np.ndarray:
    """Softmax over classes, summed by label: (..., labels + 1) that add up to 1; the last is "no instrument"."""
    belongs = np.eye(class_labels.max() + 2, dtype=logits.dtype)[class_labels]  # -1 is the last row
    return softmax(logits, axis=-1) @ belongs


def label_probabilities(logits: np.ndarray, class_labels: np.ndarray) -> np.ndarray:
    """Softmax over classes, summed by label.

    Args:
        logits: (..., classes).
        class_labels: (classes,) the label of each class, -1 for "no instrument".

    Returns:
        (..., labels); what is missing to 1 is "no instrument".
    """
    return _shares(logits, class_labels)[..., :-1]


def evidence(logits: np.ndarray, class_labels: np.ndarray) -> np.ndarray:
    """Log-odds of each label against "no instrument": (..., classes) to (..., labels)."""
    log_shares = np.log(np.maximum(_shares(logits, class_labels), np.finfo(logits.dtype).tiny))
    return log_shares[..., :-1] - log_shares[..., -1:]


def integral_image(values: np.ndarray) -> np.ndarray:
    """Sums over all rectangles that start at the origin: (rows, columns, k) to (rows + 1, columns + 1, k)."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1, *values.shape[2:]), np.float64)
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def window_cells(rows: int, columns: int) -> np.ndarray:
    """All windows on a map of that size, as cells x0, y0, x1, y1: (n, 4) int64.

    A shape that is too tall or too wide is cut to the map; shapes that become equal by that count once.
    """
    shapes = dict.fromkeys((min(height, rows), min(width, columns)) for height, width in SHAPES)
    windows = []
    for height, width in shapes:
        top, left = np.mgrid[: rows - height + 1, : columns - width + 1].reshape(2, -1)
        windows.append(np.stack([left, top, left + width, top + height], axis=1))
    return np.concatenate(windows)


def window_means(integral: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mean over each window's cells: (n, k), from an integral image and (n, 4) windows."""
    x0, y0, x1, y1 = cells.T
    sums = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
    return sums / ((x1 - x0) * (y1 - y0))[:, None]


def score_windows(levels: list[Level], class_labels: np.ndarray) -> Windows:
    """Score the windows of one picture that show the most evidence of any instrument.

    Args:
        levels: the pyramid.
        class_labels: (classes,) the label of each class, -1 for "no instrument".

    Returns:
        At most CANDIDATES windows, in no particular order.
    """
    cells = [window_cells(*level.logits.shape[:2]) for level in levels]
    strengths = [
        window_means(integral_image(evidence(level.logits, class_labels)), windows).max(axis=1)
        for level, windows in zip(levels, cells, strict=True)
    ]
    every_strength = np.concatenate(strengths)
    least = np.partition(every_strength, -CANDIDATES)[-CANDIDATES] if len(every_strength) > CANDIDATES else -np.inf
    chosen = [windows[strength >= least] for windows, strength in zip(cells, strengths, strict=True)]
    return score_cells(levels, chosen, class_labels)


def score_cells(levels: list[Level], cells: list[np.ndarray], class_labels: np.ndarray) -> Windows:
    """Score the given windows with the softmax of their mean logits.

    Args:
        levels: the pyramid.
        cells: for each level (n, 4) windows on it, x0, y0, x1, y1; not all of them empty.
        class_labels: (classes,) the label of each class, -1 for "no instrument".

    Returns:
        These windows, level by level.
    """
    found = []
    for position, (level, own) in enumerate(zip(levels, cells, strict=True)):
        if len(own):
            means = window_means(integral_image(level.logits), own)
            pixels = np.array([level.width, level.height, level.width, level.height])
            boxes = np.minimum(own * STRIDE / pixels, 1.0)
            found.append((boxes, label_probabilities(means, class_labels), np.full(len(own), position), own))
    return Windows(*(np.concatenate(values) for values in zip(*found, strict=True)))
