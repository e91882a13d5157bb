"""How good a model is: classification of photographs, and detections against boxes drawn by people.

Every figure comes with a 95 % bootstrap interval over pictures (not over boxes: those of one picture go together),
but for the calibration error of detections (`training.artworks.calibration_error`).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotator.detection.boxes import area, intersection_over_union
from training.calibration import expected_calibration_error

RESAMPLES = 1000  # of the bootstrap
COCO_IOUS = tuple(np.linspace(0.5, 0.95, 10))
COCO_DETECTIONS = 100  # of one picture, the best
MINERVA_SCORE = 0.05
AT_ONCE = 4_000_000  # detections of all resamples that are counted together: some 240 MB


class Figure(TypedDict):
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def with_interval(statistic: Callable[[np.ndarray], float], count: int) -> Figure:
    """A statistic of ``count`` pictures and its 95 % percentile bootstrap interval (Efron & Tibshirani 1993).

    Args:
        statistic: from (k,) positions of pictures, some of them repeatedly, to the figure; nan where there is none.
        count: pictures.
    """
    random = np.random.default_rng(0)
    values = [statistic(random.integers(0, count, count)) for _ in range(RESAMPLES)]
    return figure(np.array([statistic(np.arange(count)), *values]))


def classification(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, Figure]:
    """Accuracy, macro-averaged F1 over the labels that occur, and expected calibration error of the best label.

    Args:
        probabilities: (n, labels).
        targets: (n,) the true label; negative, each its own, for those that the model does not know: never right.
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == targets
    return {
        "accuracy": with_interval(lambda chosen: float(right[chosen].mean()), len(targets)),
        "macro_f1": with_interval(lambda chosen: macro_f1(targets[chosen], predicted[chosen]), len(targets)),
        "ece": calibration_error(probabilities.max(axis=1), right),
    }


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> Figure:
    """`expected_calibration_error` of (n,) confidences, with its interval."""
    return with_interval(lambda chosen: expected_calibration_error(confidences[chosen], right[chosen]), len(right))


def macro_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of F1 over the labels that occur among the targets, (n,) like the predictions.

    That of scikit-learn, a hundred times as fast: an interval takes it a thousand times.
    """
    wanted, given = (values - min(targets.min(), predicted.min()) for values in (targets, predicted))
    count = 1 + max(wanted.max(), given.max())
    of_wanted, of_given, of_right = (
        np.bincount(values, minlength=count) for values in (wanted, given, wanted[wanted == given])
    )
    occurring = of_wanted > 0
    return float((2 * of_right[occurring] / (of_wanted + of_given)[occurring]).mean())


def sentence(figures: Mapping[str, Figure]) -> str:
    """The figures in a line for people."""
    return ", ".join(
        f"{name} {figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]" for name, figure in figures.items()
    )


@dataclass(frozen=True)
class Truth:
    """The boxes that people drew on one image.

    Attributes:
        boxes: (m, 4) float; x0, y0, x1, y1 in pixels, top-left origin, half-open.
        difficult: (m,) bool; such boxes count neither for nor against (PASCAL VOC).
    """

    boxes: np.ndarray
    difficult: np.ndarray


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


def average_precision(
    right: np.ndarray, counts: np.ndarray, wanted: np.ndarray, points: int | None = None
) -> np.ndarray:
    """Area under precision over recall, for many resamples of one collection at once.

    Args:
        right: (n,) bool; the detections of the collection, best first.
        counts: (..., n) how often each detection was drawn with its picture; ones for the collection itself.
        wanted: (...) how many boxes there are in what was drawn.
        points: None for the whole area under the monotone curve (VOC 2010); else the mean of the monotone precision at
            so many even steps of recall (COCO: 101).

    Returns:
        (...) average precision, nan where nothing is wanted.
    """
    if not len(right):
        return np.where(wanted > 0, 0.0, np.nan)
    found = np.cumsum(counts * right, axis=-1)
    seen = np.cumsum(counts, axis=-1)
    precision = np.divide(found, seen, out=np.zeros(found.shape), where=seen > 0)
    monotone = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    total = np.where(wanted > 0, wanted, np.nan)
    if points is None:
        return (counts * right * monotone).sum(axis=-1) / total
    steps = np.linspace(0, 1, points)
    rows = found.reshape(-1, found.shape[-1]) / total.reshape(-1, 1)
    padded = np.concatenate([monotone.reshape(rows.shape), np.zeros((len(rows), 1))], axis=1)
    means = [line[np.searchsorted(recall, steps)].mean() for recall, line in zip(rows, padded, strict=True)]
    return np.where(wanted > 0, np.reshape(means, found.shape[:-1]), np.nan)


@dataclass(frozen=True)
class Judged:
    """The detections of one class over a collection, each found right or wrong.

    Attributes:
        right: (n,) bool; of the detections that count, best first.
        pictures: (n,) the position of each one's picture.
        wanted: (pictures,) how many boxes each picture has that count.
    """

    right: np.ndarray
    pictures: np.ndarray
    wanted: np.ndarray

    def average_precision(self, draws: np.ndarray, points: int | None = None) -> np.ndarray:
        """(k,) average precision of k resamples; ``draws`` (k, pictures) says how often each picture was drawn."""
        parts = np.array_split(draws, max(1, len(draws) * len(self.right) // AT_ONCE))
        values = [average_precision(self.right, own[:, self.pictures], own @ self.wanted, points) for own in parts]
        return np.concatenate(values)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision, (n,) each, of the best detection, the best two, and so on."""
        found = np.cumsum(self.right)
        return found / max(1, int(self.wanted.sum())), found / (1 + np.arange(len(found)))


def judge(found: Sequence[tuple[np.ndarray, np.ndarray]], truths: Sequence[Truth], iou: float) -> Judged:
    """Match the detections of every picture by the rule of `match`.

    Args:
        found: for each picture its boxes (n, 4) and scores (n,).
        truths: for each picture what people drew.
        iou: least intersection over union of a right detection.
    """
    matched = []
    for number, ((boxes, scores), truth) in enumerate(zip(found, truths, strict=True)):
        right, counted = match(boxes, scores, truth, iou)
        matched.append((number, scores[counted], right[counted]))
    return _judged(matched, truths)


def _judged(matched: Sequence[tuple[int, np.ndarray, np.ndarray]], truths: Sequence[Truth]) -> Judged:
    """From (picture, scores, right) of the detections that count, picture by picture, to those of the collection."""
    numbers, scores, right = zip((0, np.zeros(0), np.zeros(0, bool)), *matched, strict=True)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    pictures = np.repeat(numbers, [len(own) for own in scores])
    wanted = np.array([int((~truth.difficult).sum()) for truth in truths])
    return Judged(np.concatenate(right)[order], pictures[order], wanted)


def coco_judged(
    found: Sequence[tuple[np.ndarray, np.ndarray]], truths: Sequence[Truth]
) -> tuple[float, dict[float, Judged]]:
    """COCO's average precision of one class (mean over IoU 0.5 to 0.95), matched by pycocotools.

    Returns:
        The library's own figure, and by IoU what it matched, so that an interval can be had.
    """
    shapes = [{"id": number + 1, "width": 1, "height": 1} for number in range(len(truths))]
    annotations = [
        {"image_id": number + 1, "category_id": 1, "bbox": _xywh(box), "area": float(area(box)), "iscrowd": int(hard)}
        for number, truth in enumerate(truths)
        for box, hard in zip(truth.boxes, truth.difficult, strict=True)
    ]
    results = [
        {"image_id": number + 1, "category_id": 1, "bbox": _xywh(box), "score": float(score)}
        for number, (boxes, scores) in enumerate(found)
        for box, score in zip(boxes, scores, strict=True)
    ]
    nothing = _judged([], truths)
    if not results or not nothing.wanted.any():
        return (0.0 if nothing.wanted.any() else float("nan")), dict.fromkeys(COCO_IOUS, nothing)
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = {
            "info": {},
            "images": shapes,
            "categories": [{"id": 1, "name": "instrument"}],
            "annotations": [{"id": number, **item} for number, item in enumerate(annotations, start=1)],
        }
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [COCO_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    value = float(precision[precision > -1].mean()) if (precision > -1).any() else float("nan")
    judged = {}
    for position, iou in enumerate(COCO_IOUS):
        matched = []
        for item in filter(None, evaluation.evalImgs):
            counted = ~np.asarray(item["dtIgnore"][position], bool)
            right = np.asarray(item["dtMatches"][position])[counted] > 0
            matched.append((item["image_id"] - 1, np.asarray(item["dtScores"])[counted], right))
        judged[iou] = _judged(matched, truths)
    return value, judged


def _xywh(box: np.ndarray) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def draws(pictures: int) -> np.ndarray:
    """(RESAMPLES + 1, pictures) how often each picture is drawn; in the first row each is once."""
    random = np.random.default_rng(0)
    drawn = random.multinomial(pictures, np.full(pictures, 1 / max(1, pictures)), RESAMPLES)
    return np.concatenate([np.ones((1, pictures), int), drawn])


def figure(values: np.ndarray) -> Figure:
    """A figure from its value on the collection (first) and on the resamples (the others)."""
    if np.isnan(values[1:]).all():
        return Figure(value=float(values[0]), low=float("nan"), high=float("nan"))
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return Figure(value=round(float(values[0]), 4), low=round(float(low), 4), high=round(float(high), 4))


def detection(
    found: Mapping[Hashable, Sequence[tuple[np.ndarray, np.ndarray]]], truths: Mapping[Hashable, Sequence[Truth]]
) -> dict[str, Figure]:
    """Average precision, the mean over the classes that have boxes.

    Args:
        found: by class, for each picture its boxes (n, 4) and scores (n,); a class may be missing.
        truths: by class, for each picture what people drew.

    Returns:
        ``ap10``, ``ap30``, ``ap50`` (VOC 2010, all points), ``ap_coco``, and ``minerva_ap10``, ``minerva_ap50`` (only
        detections with a score of 0.05 or more, as Sabatelli et al. 2021 count).
    """
    classes = [name for name, own in truths.items() if any((~truth.difficult).any() for truth in own)]
    pictures = len(next(iter(truths.values()), ()))
    drawn = draws(pictures)
    nothing = [(np.zeros((0, 4)), np.zeros(0))] * pictures

    def mean(of_class: Callable[[Hashable], np.ndarray]) -> Figure:
        # A resample may have no box of a class: that class is left out of its mean.
        values = np.stack([of_class(name) for name in classes]) if classes else np.full((1, len(drawn)), np.nan)
        count = (~np.isnan(values)).sum(axis=0)
        return figure(np.divide(np.nansum(values, axis=0), count, out=np.full(len(drawn), np.nan), where=count > 0))

    def voc(iou: float, least: float) -> Callable[[Hashable], np.ndarray]:
        def of_class(name: Hashable) -> np.ndarray:
            own = [(boxes[scores >= least], scores[scores >= least]) for boxes, scores in found.get(name, nothing)]
            return judge(own, truths[name], iou).average_precision(drawn)

        return of_class

    def coco(name: Hashable) -> np.ndarray:
        value, judged = coco_judged(found.get(name, nothing), truths[name])
        resampled = np.mean([one.average_precision(drawn, 101) for one in judged.values()], axis=0)
        return np.concatenate([[value], resampled[1:]])

    return {
        **{f"ap{round(iou * 100)}": mean(voc(iou, 0)) for iou in (0.1, 0.3, 0.5)},
        "ap_coco": mean(coco),
        **{f"minerva_ap{round(iou * 100)}": mean(voc(iou, MINERVA_SCORE)) for iou in (0.1, 0.5)},
    }
