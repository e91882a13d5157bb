"""Detection on real artworks that people have drawn boxes on: any instrument, and with the right term."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from annotator.detection import Detections
from annotator.models import builtin
from annotator.vocabulary import matching
from training.evaluate import detections_of
from training.metrics import Truth, draws, figure, judge, match

ARTWORKS = Path(__file__).parents[1] / "../shared/data/artworks"
IOUS = (0.1, 0.3, 0.5)

Found = Mapping[str, tuple[np.ndarray, np.ndarray]]


def rows(name: str) -> list[dict[str, str]]:
    """The lines of one of the artworks' tables."""
    return list(csv.DictReader((ARTWORKS / name).read_text(encoding="utf-8").splitlines()))


def average_precisions(
    collections: Mapping[str, tuple[Found, Mapping[str, Truth]]], prefix: str
) -> dict[str, list[float] | float]:
    """Average precision with 95 % bootstrap intervals over pictures, and recall, at each of IOUS.

    Args:
        collections: by picture, its detections and truths by any key (the picture, or the picture and a term).
        prefix: of the names in the result.
    """
    items = [(number, own, key) for number, own in enumerate(collections.values()) for key in own[1]]
    found = [own[0][key] for _, own, key in items]
    truths = [own[1][key] for _, own, key in items]
    drawn = draws(len(collections))[:, [number for number, _, _ in items]]
    result: dict[str, list[float] | float] = {}
    for iou in IOUS:
        judged = judge(found, truths, iou)
        precision = figure(judged.average_precision(drawn))
        result[f"{prefix}ap@{iou}"] = [round(precision[end], 3) for end in ("value", "low", "high")]
        result[f"{prefix}recall@{iou}"] = round(float(judged.right.sum() / judged.wanted.sum()), 3)
    return result


def _of_each_term(
    found: Detections, truth: Truth, truth_ids: list[int | None], model_ids: list[int | None]
) -> tuple[Found, Mapping[str, Truth]]:
    """One picture as one collection a term; what the model has no term for counts neither for nor against."""
    unknown = np.array([number not in model_ids for number in truth_ids], bool)
    detections, truths = {}, {}
    for label, number in enumerate(model_ids):
        own = np.array([wanted == number for wanted in truth_ids], bool)
        here = found.labels == label
        detections[str(number)] = (found.boxes[here], found.scores[here])
        truths[str(number)] = Truth(truth.boxes[own | unknown], (truth.difficult | unknown)[own | unknown])
    return detections, truths


def run() -> dict[str, object]:
    """PASCAL VOC average precision of the built-in model, difficult boxes ignored."""
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    model = builtin.load()
    model_ids = [label.mimo_id for label in model.labels]
    boxes = rows("boxes.csv")
    any_instrument, with_term = {}, {}
    truths, shown = {}, {}
    for row in rows("images.csv"):
        name = row["image_id"]
        own = [box for box in boxes if box["image_id"] == name]
        corners = np.array([[float(box[side]) for side in ("xmin", "ymin", "xmax", "ymax")] for box in own])
        truth = truths[name] = Truth(corners.reshape(-1, 4), np.array([box["difficult"] == "1" for box in own], bool))
        meant = [matching(box["label"]) for box in own]
        found = detections_of(model, ARTWORKS / "images" / row["file"])
        any_instrument[name] = ({name: (found.boxes, found.scores)}, {name: truth})
        with_term[name] = _of_each_term(found, truth, [item.mimo_id if item else None for item in meant], model_ids)
        shown[name] = found[found.scores >= model.threshold]

    result: dict[str, object] = {**average_precisions(any_instrument, ""), **average_precisions(with_term, "term_")}
    empty = [name for name, truth in truths.items() if not len(truth.boxes)]
    result["threshold"] = model.threshold
    result["false_boxes_per_empty_picture"] = round(sum(len(shown[name]) for name in empty) / len(empty), 3)
    right = sum(
        int(match(shown[name].boxes, shown[name].scores, truth, 0.1)[0].sum()) for name, truth in truths.items()
    )
    wanted = sum(int((~truth.difficult).sum()) for truth in truths.values())
    result["recall@0.1_at_threshold"] = round(right / wanted, 3)
    return result
