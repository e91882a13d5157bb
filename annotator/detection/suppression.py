"""Non-maximum suppression: of detections that show the same thing, keep the best."""

from __future__ import annotations

import numpy as np
import shapely

from annotator.detection.boxes import area, intersection

CHUNK = 64  # boxes decided at a time: few enough that a list of all that touch them is small beside the boxes
PAIRS = 1 << 18  # pairs of boxes whose overlap is computed at a time


def suppress(
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    same_label: float,
    other_label: float,
    inside: float = np.inf,
) -> np.ndarray:
    """Greedy, class-aware non-maximum suppression.

    In order of falling score each box is kept and removes the boxes after it that overlap it too much. Only boxes that
    touch are compared, found in a tree of boxes, so time grows with the overlaps that there are and memory with n.

    Args:
        boxes: (n, 4) float.
        labels: (n,) int.
        scores: (n,) float.
        same_label: intersection over union above which a box of the same label is removed, 0 or more.
        other_label: the same for a box of another label.
        inside: intersection over the smaller box above which a box of the same label is removed.

    Returns:
        Positions of the boxes that are kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, labels = boxes[order], labels[order]  # from here on a smaller position is a better box
    areas = area(boxes)

    def removes(better: np.ndarray, worse: np.ndarray) -> np.ndarray:
        """For pairs of positions, whether the better removes the worse."""
        shared = intersection(boxes[better], boxes[worse])
        union = areas[better] + areas[worse] - shared
        alike = labels[better] == labels[worse]
        part = shared > inside * np.minimum(areas[better], areas[worse]) if np.isfinite(inside) else False
        return (shared > np.where(alike, same_label, other_label) * union) | (alike & part)

    shapes = shapely.box(*boxes.T)
    tree = shapely.STRtree(shapes)
    alive = np.ones(len(boxes), bool)  # kept, or not yet decided
    start = 0
    while start < len(boxes):
        chunk = start + np.flatnonzero(alive[start:])[:CHUNK]
        if not len(chunk):
            break
        rows, columns = np.triu_indices(len(chunk), 1)
        among = np.zeros((len(chunk), len(chunk)), bool)
        among[rows, columns] = removes(chunk[rows], chunk[columns])
        for i, position in enumerate(chunk):
            if alive[position]:
                alive[chunk[among[i]]] = False
        start = chunk[-1] + 1

        kept = chunk[alive[chunk]]
        rows, worse = tree.query(shapes[kept])
        undecided = (worse >= start) & alive[worse]
        better, worse = kept[rows[undecided]], worse[undecided]
        for first in range(0, len(worse), PAIRS):
            pairs = slice(first, first + PAIRS)
            alive[worse[pairs][removes(better[pairs], worse[pairs])]] = False
    return order[alive]
