"""Non-maximum suppression: of detections that show the same thing, keep the best."""

from __future__ import annotations

import numpy as np

from annotator.detection.boxes import intersection_over_smaller, intersection_over_union


def suppress(
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    *,
    same_label: float,
    other_label: float,
    inside: float = np.inf,
    most: int,
) -> np.ndarray:
    """Greedy, class-aware non-maximum suppression.

    In order of falling score each box is kept and removes the boxes after it that overlap it too much.

    Args:
        boxes: (n, 4) float.
        labels: (n,) int.
        scores: (n,) float.
        same_label: intersection over union above which a box of the same label is removed.
        other_label: the same for a box of another label.
        inside: intersection over the smaller box above which a box of the same label is removed.
        most: how many to keep at the most.

    Returns:
        Positions of the boxes that are kept, best first.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        overlap = intersection_over_union(boxes[best : best + 1], boxes[rest])[0]
        alike = labels[rest] == labels[best]
        part = intersection_over_smaller(boxes[best : best + 1], boxes[rest])[0] > inside
        order = rest[~((overlap > np.where(alike, same_label, other_label)) | (alike & part))]
    return np.array(kept, np.int64)
