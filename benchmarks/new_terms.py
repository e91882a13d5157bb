"""Are instruments that the built-in model has no name for called by theirs, once others of them were validated?

Cross-validation over the artworks: each fold is judged by a model that learnt from all other folds, as a job learns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annotator.detection import Detections
from annotator.detection.boxes import intersection_over_union
from annotator.models import builtin
from annotator.models.bundle import Label
from annotator.training_set import LEAST_REGIONS
from benchmarks import kept
from benchmarks.accuracy import ARTWORKS
from benchmarks.cross_validation import learnt_in_turn
from benchmarks.curator import SAME_PLACE
from training import champion, datasets, feedback, metrics
from training.datasets import Picture

FOLDS = 4


def run() -> dict[str, object]:
    """By new instrument how many there are, are found and are called so; average precisions before and after."""
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    pictures = datasets.read(ARTWORKS, "coco")
    begun = builtin.load()
    known = begun.labels
    with tempfile.TemporaryDirectory() as folder:
        see = feedback.keep(begun, pictures, Path(folder))
        judged = learnt_in_turn(begun, pictures, FOLDS, see)
        before = [kept.found(begun, seen) for seen in see(judged.pictures)]
    names: dict[Label, list[str | None]] = {}
    for picture, found, threshold in zip(judged.pictures, judged.found, judged.thresholds, strict=True):
        for label, name in names_given(found[found.scores >= threshold], judged.labels, picture):
            names.setdefault(label, []).append(name)
    values = [
        champion.resampled(labels, found, judged.pictures)
        for labels, found in ((known, before), (judged.labels, judged.found))
    ]
    enough = {label: own for label, own in names.items() if label not in known and len(own) >= LEAST_REGIONS}
    return {
        "artworks": len(pictures),
        "new": {label.name: _counts([(label, name) for name in own]) for label, own in enough.items()},
        "known": _counts([(label, name) for label, own in names.items() if label in known for name in own]),
        **{
            name: {
                "before": metrics.figure(values[0][name]),
                "difference": metrics.figure(values[1][name] - values[0][name]),
            }
            for name in values[0]
        },
    }


def names_given(found: Detections, labels: Sequence[Label], picture: Picture) -> list[tuple[Label, str | None]]:
    """For each instrument of a picture its label and the name of the best detection there, None where there is none."""
    given: list[tuple[Label, str | None]] = []
    for region in picture.regions:
        if not region.difficult:
            there = np.flatnonzero(intersection_over_union(found.boxes, np.array(region.box)) >= SAME_PLACE)
            best = there[np.argmax(found.scores[there])] if len(there) else None
            given.append((region.label, None if best is None else labels[found.labels[best]].name))
    return given


def _counts(given: Sequence[tuple[Label, str | None]]) -> dict[str, int]:
    return {
        "there": len(given),
        "found": sum(name is not None for _, name in given),
        "called_so": sum(name == label.name for label, name in given),
    }
