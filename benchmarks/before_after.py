"""A page of the artworks with the best windows beside the outlines that are drawn from them: what moved, what fails."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from annotator.detection import Detections, detector, windows
from annotator.detection.boxes import intersection_over_union
from annotator.models import builtin
from annotator.models.bundle import Model
from annotator.report.page import COLOURS
from benchmarks.accuracy import ARTWORKS
from training import datasets
from training.datasets import Picture
from training.datasets.pictures import read_shrunk
from training.evaluate import LOWEST, MOST

OUT = Path("out/before_after")
SIDE = 480  # pixels of a picture's longest side on the page
TIGHT, LOOSE = 0.5, 0.1  # intersection over union
BEFORE, AFTER, TRUTH = COLOURS[0], COLOURS[1], COLOURS[-1]


def run() -> dict[str, object]:
    """How many instruments are where, by windows alone and by outlines; the page is ``out/before_after/index.html``."""
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    model = builtin.load()
    OUT.mkdir(parents=True, exist_ok=True)
    rows, places = [], {"windows_alone": Counter[str](), "outlines": Counter[str]()}
    for number, picture in enumerate(datasets.read(ARTWORKS, "coco")):
        image, width, height = read_shrunk(picture.path)
        scale = width / image.shape[1], height / image.shape[0]
        levels = detector.scan(model, image)
        scored = windows.score_windows(levels, np.array(model.configuration.class_labels))
        after = detector.detect(model, image, LOWEST, MOST, levels=levels, scored=scored).scaled(*scale)
        before = windows_alone(model, scored, width, height)

        regions = [region for region in picture.regions if not region.difficult]
        truths = np.array([region.box for region in regions], float).reshape(-1, 4)
        shown = [found[found.scores >= model.threshold] for found in (before, after)]
        overlaps = [_best_overlaps(truths, found.boxes) for found in shown]
        for counter, own in zip(places.values(), overlaps, strict=True):
            counter.update(map(_kind, own))
        lines = [
            f"{region.label.name}: {_kind(one)} ({one:.2f}) → {_kind(other)} ({other:.2f})"
            + (f", {_named(shown[1], model, truth)}" if other >= LOOSE else "")
            + (f"; below the threshold {under:.2f}" if other < LOOSE <= under else "")
            for region, truth, one, other, under in zip(
                regions, truths, *overlaps, _best_overlaps(truths, after.boxes), strict=True
            )
        ]
        away = [int((_best_overlaps(found.boxes, truths) < LOOSE).sum()) for found in shown]
        lines.append(f"boxes that show none of these: {away[0]} → {away[1]}")
        for name, found, colour in zip(("before", "after"), shown, (BEFORE, AFTER), strict=True):
            _drawn(image, truths, found, width, colour).save(OUT / f"{number}_{name}.jpg", quality=85)
        rows.append((float(np.mean(overlaps[1]) - np.mean(overlaps[0])) if regions else -1.0, number, picture, lines))
    (OUT / "index.html").write_text(_page(sorted(rows, key=lambda row: -row[0])), encoding="utf-8")
    return {name: dict(counter) for name, counter in places.items()}


def windows_alone(model: Model, scored: windows.Windows, width: int, height: int) -> Detections:
    """The windows of a picture as they are, in pixels of the file, one for each instrument."""
    scores = detector.box_scores(
        np.zeros(len(scored.boxes)), scored.probabilities.sum(axis=1), (0.0, *model.configuration.odds_score)
    )
    alone = Detections(scored.boxes, scored.probabilities.argmax(axis=1), scores)
    alone = alone[alone.scores >= LOWEST].scaled(width, height)
    return alone[detector.best_of_each(alone)][:MOST]


def _best_overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) the most that each box overlaps any other box."""
    return intersection_over_union(boxes[:, None], others).max(axis=1, initial=0.0)


def _kind(overlap: float) -> str:
    return "tight" if overlap >= TIGHT else "loose" if overlap >= LOOSE else "missed"


def _named(found: Detections, model: Model, truth: np.ndarray) -> str:
    best = int(intersection_over_union(found.boxes, truth).argmax())
    return f"{model.labels[found.labels[best]].name} {found.scores[best]:.2f}"


def _drawn(image: np.ndarray, truths: np.ndarray, found: Detections, width: int, colour: str) -> Image.Image:
    small = Image.fromarray(image)
    small.thumbnail((SIDE, SIDE))
    draw = ImageDraw.Draw(small)
    for boxes, line in ((truths, TRUTH), (found.boxes, colour)):
        for box in (boxes * (small.width / width)).tolist():
            draw.rectangle(box, outline=line, width=2)
    return small


def _page(rows: Sequence[tuple[float, int, Picture, Sequence[str]]]) -> str:
    body = "".join(
        f'<tr><td><img src="{number}_before.jpg"><td><img src="{number}_after.jpg">'
        f"<td><b>{html.escape(picture.path.name)}</b><br>{'<br>'.join(map(html.escape, lines))}"
        for _, number, picture, lines in rows
    )
    style = "body{background:#222;color:#eee;font:14px sans-serif}td{vertical-align:top;padding:4px}"
    return (
        f'<!doctype html><meta charset="utf-8"><title>Windows and outlines</title><style>{style}</style><p>White: what '
        "people drew. Left: the best windows. Right: boxes of the outlines drawn from them. Most gained first. Tight: "
        f"overlap {TIGHT} or more, loose: {LOOSE} or more.<table>{body}</table>"
    )
