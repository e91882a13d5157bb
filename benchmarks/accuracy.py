"""Detection on real artworks that people have drawn boxes on, every instrument counted as one class."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.detection import SCAN_SIDE, detector
from annotator.models import builtin
from training.evaluate import Truth, match, precision_recall

ARTWORKS = Path(__file__).parents[1] / "../shared/data/artworks"
IOUS = (0.1, 0.3, 0.5)
LOWEST = 0.02  # least score of the detections that the precision-recall curve is made of
RESAMPLES = 1000


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((ARTWORKS / name).read_text(encoding="utf-8").splitlines()))


def run() -> dict[str, object]:
    """Average precision (PASCAL VOC, difficult boxes ignored) with 95 % bootstrap intervals over artworks."""
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    model = builtin.load()
    boxes = _rows("boxes.csv")
    truths, detections = {}, {}
    for row in _rows("images.csv"):
        own = [box for box in boxes if box["image_id"] == row["image_id"]]
        corners = np.array([[float(box[side]) for side in ("xmin", "ymin", "xmax", "ymax")] for box in own])
        difficult = np.array([box["difficult"] == "1" for box in own], bool)
        truths[row["image_id"]] = Truth(corners.reshape(-1, 4), difficult)
        with Image.open(ARTWORKS / "images" / row["file"]) as picture:
            shrunk = picture.convert("RGB")
            shrunk.thumbnail((SCAN_SIDE, SCAN_SIDE))
            found = detector.detect(model, np.asarray(shrunk), LOWEST, 100)
            found = found.scaled(picture.width / shrunk.width, picture.height / shrunk.height)
        detections[row["image_id"]] = (found.boxes, found.scores)

    result: dict[str, object] = {}
    random = np.random.default_rng(0)
    names = list(truths)
    samples = [random.choice(names, len(names)) for _ in range(RESAMPLES)]
    for iou in IOUS:
        curve = precision_recall(detections, truths, iou)
        resampled = [
            precision_recall(
                {f"{name}-{i}": detections[name] for i, name in enumerate(sample)},
                {f"{name}-{i}": truths[name] for i, name in enumerate(sample)},
                iou,
            ).average_precision
            for sample in samples
        ]
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        result[f"ap@{iou}"] = [round(float(value), 3) for value in (curve.average_precision, low, high)]
        result[f"recall@{iou}"] = round(curve.recall, 3)
    shown = {name: (found[scores >= model.threshold], scores[scores >= model.threshold]) for name, (found, scores) in detections.items()}  # fmt: skip  # noqa: E501
    empty = [name for name, truth in truths.items() if not len(truth.boxes)]
    result["threshold"] = model.threshold
    result["false_boxes_per_empty_picture"] = round(sum(len(shown[name][0]) for name in empty) / len(empty), 3)
    right = sum(int(match(*shown[name], truth, 0.1)[0].sum()) for name, truth in truths.items())
    wanted = sum(int((~truth.difficult).sum()) for truth in truths.values())
    result["recall@0.1_at_threshold"] = round(right / wanted, 3)
    return result
