"""How much is learnt from how many validated artworks, looked through at random or in the order that is advised."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annotator.detection import examination, windows
from annotator.look_next import ranking
from annotator.models import builtin
from annotator.models.bundle import Model
from benchmarks import kept
from benchmarks.accuracy import ARTWORKS
from benchmarks.cross_validation import first_label
from benchmarks.new_terms import names_given
from training import champion, datasets, feedback
from training.datasets import Picture
from training.feedback import See

COUNTS = (5, 10, 20, 37)  # validated artworks: the last is all of a half
SPLITS = 4  # into a half to learn from and one to judge by
FIGURES = ("average", "any_ap10", "any_ap30", "any_ap50")
NEW = "Lute"  # which the built-in model does not know


def run() -> dict[str, object]:
    """Average precisions by number of validated artworks in both orders: mean, least and most over the splits.

    Besides, of the lutes that were judged, how many were found, and how many of these were called lutes.
    """
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    pictures = datasets.read(ARTWORKS, "coco")
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        see = feedback.keep(builtin.load(), pictures, Path(folder))
        for seed in range(SPLITS):
            for name, figures in _split(pictures, seed, see).items():
                rows.setdefault(name, []).append(figures)
                print(seed, name, {key: round(value, 3) for key, value in figures.items()}, flush=True)
    result: dict[str, object] = {"splits": SPLITS}
    for name, own in rows.items():
        values = {key: [figures[key] for figures in own] for key in own[0]}
        result[name] = {key: [round(f(value), 3) for f in (np.mean, min, max)] for key, value in values.items()}
    return result


def _split(pictures: Sequence[Picture], seed: int, see: See) -> dict[str, dict[str, float]]:
    """The figures on one half of the artworks, by what was learnt from the other."""
    lot = random.Random(seed)  # noqa: S311
    lots = {picture.path: lot.random() for picture in pictures}
    # Halves with as many artworks of each instrument.
    ordered = sorted(pictures, key=lambda one: (first_label(one), lots[one.path]))
    looked, judged = ordered[1::2], ordered[0::2]
    lot.shuffle(looked)
    model = builtin.load()
    doubts, appearances = [], []
    for seen in see(looked):
        levels = kept.said(model, seen)
        doubts.append(examination.doubt(windows.score_windows(levels, np.array(model.configuration.class_labels))))
        appearances.append(examination.appearance(levels))
    order = ranking(np.array(doubts), np.array(appearances), np.zeros((0, len(appearances[0]))), len(looked))
    advised = [looked[position] for position in order]
    advised += [picture for picture in looked if picture not in advised]
    found = {"none": _figures(model, judged, see)}
    for count in COUNTS:
        for name, own in (("random", looked), ("advised", advised)):
            if count < len(looked) or name == "random":
                found[f"{name} {count}"] = _learnt(own[:count], judged, see)
    return found


def _learnt(looked: Sequence[Picture], judged: Sequence[Picture], see: See) -> dict[str, float]:
    regions = [region for picture in looked for region in picture.regions if not region.difficult]
    model = feedback.learn(builtin.load(), looked, see=see) if regions else builtin.load()
    return {"instruments": len(regions)} | _figures(model, judged, see)


def _figures(model: Model, judged: Sequence[Picture], see: See) -> dict[str, float]:
    found = [kept.found(model, seen) for seen in see(judged)]
    values = champion.resampled(model.labels, found, judged)
    given = [
        name
        for detections, picture in zip(found, judged, strict=True)
        for label, name in names_given(detections[detections.scores >= model.threshold], model.labels, picture)
        if label.name == NEW
    ]
    counts = {"lutes": len(given), "lutes_found": len(given) - given.count(None), "called_lutes": given.count(NEW)}
    return {key: float(values[key][0]) for key in FIGURES} | counts
