"""Sliding windows on a dense map of logits.

The head is linear, so the logits of a window are the mean of the logits of its cells, and an integral image gives that
mean for any window in four look-ups. First every window is judged by its mean *log-odds*, a cheap stand-in with one
number a label; the best few are then scored exactly, with the softmax of their mean logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.special import softmax

from annotator.models.backbones import STRIDE

# Height and width in cells of STRIDE pixels: squares of 5, 7 and 10 cells and about 1:2 and 1:3 of the same area.
SHAPES = ((5, 5), (3, 7), (7, 3), (7, 7), (5, 9), (9, 5), (4, 12), (12, 4), (10, 10), (6, 14), (14, 6))
WIDEST = max(max(shape) for shape in SHAPES)
CANDIDATES = 2000  # windows that are scored exactly, of one picture and of each level beyond `pyramid.SCAN_SIDE`
CHUNK = 128  # classes that are added up at a time: an integral image of a thousand takes much memory
ROWS = 16  # of a part whose log-odds are computed at a time, for the same reason


@dataclass(frozen=True)
class Level:
    """What the network said about one level of the pyramid, or about a part of one (`annotator.detection.blocks`).

    A part begins with cells that earlier parts had too, so that every window lies whole in some part; it belongs to the
    first one that has it.

    Attributes:
        logits: (rows, columns, classes) float32, divided by the temperature; a cell stands for STRIDE x STRIDE pixels.
        width: pixels of the whole level's picture, without its padding.
        height: the same.
        boxes: what the box head said (`annotator.models.box_head.build`), None for a model without one; of a part,
            about its new cells only.
        left: cells of the level to the left of the part.
        top: cells of the level above the part.
        known_columns: columns at the part's left that an earlier part had too.
        known_rows: the same at its top.
    """

    logits: np.ndarray
    width: int
    height: int
    boxes: np.ndarray | None = None
    left: int = 0
    top: int = 0
    known_columns: int = 0
    known_rows: int = 0


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

    def __getitem__(self, index: np.ndarray) -> Windows:
        """The windows that a boolean mask or an index array selects."""
        return Windows(*(getattr(self, item.name)[index] for item in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Windows]) -> Windows:
        """All windows of several, at least one."""
        return cls(*(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)))


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


def log_odds(logits: np.ndarray, class_labels: np.ndarray) -> np.ndarray:
    """Log-odds of each label against "no instrument": (..., classes) to (..., labels)."""
    log_shares = np.log(np.maximum(_shares(logits, class_labels), np.finfo(logits.dtype).tiny))
    return log_shares[..., :-1] - log_shares[..., -1:]


def integral_image(values: np.ndarray) -> np.ndarray:
    """Sums over all rectangles that start at the origin: (rows, columns, k) to (rows + 1, columns + 1, k)."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1, *values.shape[2:]), np.float64)
    for row in range(
        len(values)
    ):  # numpy's cumsum adds number by number, this a whole row at once: a quarter of the time
        np.add(sums[row, 1:], values[row], out=sums[row + 1, 1:])
    for column in range(values.shape[1]):
        sums[1:, column + 1] += sums[1:, column]
    return sums


def window_cells(
    rows: int, columns: int, whole: tuple[int, int] | None = None, known: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """All windows on a map of that size, or those that belong to a part of one: cells x0, y0, x1, y1, (n, 4) int64.

    A shape that is too tall or too wide is cut to the whole map; shapes that become equal by that count once.

    Args:
        rows: of the map or part.
        columns: the same.
        whole: rows and columns of the map that this is a part of; None: it is all of it.
        known: rows at the top and columns at the left that an earlier part had: a window wholly in them is not ours.
    """
    whole_rows, whole_columns = whole or (rows, columns)
    shapes = dict.fromkeys((min(height, whole_rows), min(width, whole_columns)) for height, width in SHAPES)
    windows = []
    for height, width in shapes:
        y = slice(max(0, known[0] - height + 1), max(0, rows - height + 1))
        x = slice(max(0, known[1] - width + 1), max(0, columns - width + 1))
        top, left = np.mgrid[y, x].reshape(2, -1)
        windows.append(np.stack([left, top, left + width, top + height], axis=1))
    return np.concatenate(windows)


def part_cells(part: Level) -> np.ndarray:
    """The windows of a level that belong to a part of it, as cells x0, y0, x1, y1 of the part: (n, 4) int64."""
    whole = -(-part.height // STRIDE), -(-part.width // STRIDE)
    rows, columns = part.logits.shape[:2]
    return window_cells(rows, columns, whole, (part.known_rows, part.known_columns))


def window_means(integral: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mean over each window's cells: (n, k), from an integral image and (n, 4) windows."""
    x0, y0, x1, y1 = cells.T
    sums = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
    return sums / ((x1 - x0) * (y1 - y0))[:, None]


def score_windows(levels: list[Level], class_labels: np.ndarray) -> Windows:
    """Score the windows of one picture whose log-odds of any instrument are the highest.

    Args:
        levels: the pyramid.
        class_labels: (classes,) the label of each class, -1 for "no instrument".

    Returns:
        `CANDIDATES` windows, or all there are, or more where several are as strong as the last; in no order.
    """
    cells = [window_cells(*level.logits.shape[:2]) for level in levels]
    strengths = [
        window_means(integral_image(log_odds(level.logits, class_labels)), windows).max(axis=1)
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
            some_classes = np.split(level.logits, range(CHUNK, level.logits.shape[2], CHUNK), axis=2)
            means = np.concatenate([window_means(integral_image(some), own) for some in some_classes], axis=1)
            pixels = np.array([level.width, level.height, level.width, level.height])
            placed = own + np.array([level.left, level.top] * 2)
            boxes = np.minimum(placed * STRIDE / pixels, 1.0)
            found.append(Windows(boxes, label_probabilities(means, class_labels), np.full(len(own), position), placed))
    return Windows.joined(found)


def score_parts(parts: Iterable[Level], class_labels: np.ndarray) -> Windows:
    """What `score_windows` gives for a level that comes in parts; one part is held at a time.

    Args:
        parts: of one level, together all of it.
        class_labels: (classes,) the label of each class, -1 for "no instrument".
    """
    best, strengths = None, np.zeros(0)
    for part in parts:
        cells = part_cells(part)
        if not len(cells):
            continue
        some_rows = np.split(part.logits, range(ROWS, len(part.logits), ROWS))
        odds = np.concatenate([log_odds(some, class_labels) for some in some_rows])
        own = window_means(integral_image(odds), cells).max(axis=1)
        every = np.concatenate([strengths, own])
        least = np.partition(every, -CANDIDATES)[-CANDIDATES] if len(every) > CANDIDATES else -np.inf
        kept = [] if best is None else [best[strengths >= least]]
        if (own >= least).any():
            kept.append(score_cells([part], [cells[own >= least]], class_labels))
        best, strengths = Windows.joined(kept), every[every >= least]
    assert best is not None  # noqa: S101
    return best
