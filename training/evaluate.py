"""Score detections against boxes drawn by people: average precision as PASCAL VOC computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from annotator.detection.boxes import intersection_over_union


@dataclass(frozen=True)
class Truth:
    """The boxes that people drew on one image.

    Attributes:
        boxes: (m, 4) float; x0, y0, x1, y1 in pixels, top-left origin, half-open.
        difficult: (m,) bool; such boxes count neither for nor against (PASCAL VOC).
    """

    boxes: np.ndarray
    difficult: np.ndarray


@dataclass(frozen=True)
class Curve:
    """Precision over recall at one intersection over union.

    Attributes:
        average_precision: area under the precision-recall curve, all points, precision made monotone (VOC 2010).
        recall: share of the (not difficult) boxes found by any detection, however low its score.
        scores: (k,) scores of the detections that count, highest first.
        true_positive: (k,) bool, in the same order.
    """

    average_precision: float
    recall: float
    scores: np.ndarray
    true_positive: np.ndarray


def match(boxes: np.ndarray, scores: np.ndarray, truth: Truth, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Decide for one image which detections are right, by the rule of PASCAL VOC.

    In order of falling score each detection takes the box that it overlaps most. Overlapping less than ``iou`` it is
    wrong; on a difficult box it does not count; on a box that a better one has taken it is wrong; else it is right.

    Args:
        boxes: (n, 4) float; detections, in the frame of the truth.
        scores: (n,) float.
        truth: what people drew.
        iou: least intersection over union.

    Returns:
        Two (n,) bool arrays in the order given: true positive, and counted at all.
    """
    right = np.zeros(len(boxes), bool)
    counted = np.ones(len(boxes), bool)
    if not len(truth.boxes) or not len(boxes):
        return right, counted
    overlaps = intersection_over_union(boxes[:, None], truth.boxes)
    taken = np.zeros(len(truth.boxes), bool)
    for i in np.argsort(-scores, kind="stable"):
        best = int(np.argmax(overlaps[i]))
        if overlaps[i, best] < iou:
            continue
        if truth.difficult[best]:
            counted[i] = False
        elif not taken[best]:
            right[i] = taken[best] = True
    return right, counted


def precision_recall(
    detections: Mapping[str, tuple[np.ndarray, np.ndarray]], truths: Mapping[str, Truth], iou: float
) -> Curve:
    """Average precision over a collection, every instrument counted as one class (Everingham et al. 2010, section 4.2).

    Args:
        detections: by image, (boxes (n, 4), scores (n,)); an image without detections may be left out.
        truths: by image, what people drew; every image of the collection, also those without instruments.
        iou: least intersection over union of a right detection.

    Raises:
        ValueError: detections of an image that is not in the collection.
    """
    unknown = set(detections) - set(truths)
    if unknown:
        raise ValueError(f"detections on images that the truth does not name: {sorted(unknown)[:5]}")
    all_scores, all_right = [], []
    for image, (boxes, scores) in detections.items():
        right, counted = match(boxes, scores, truths[image], iou)
        all_scores.append(scores[counted])
        all_right.append(right[counted])
    scores = np.concatenate(all_scores) if all_scores else np.zeros(0)
    right = np.concatenate(all_right) if all_right else np.zeros(0, bool)
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]

    wanted = sum(int((~truth.difficult).sum()) for truth in truths.values())
    if wanted == 0:
        return Curve(float("nan"), float("nan"), scores, right)
    found = np.cumsum(right)
    recall = found / wanted
    precision = found / np.arange(1, len(right) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    average = float(np.sum(np.diff(recall, prepend=0.0) * monotone))
    return Curve(average, float(recall[-1]) if len(recall) else 0.0, scores, right)
