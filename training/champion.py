"""Is a new model better than the one it would replace? Judged on pictures that neither learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotator.detection import Detections
from annotator.detection.boxes import intersection_over_union
from annotator.models.bundle import Label, Model
from annotator.pictures import open_rgb
from annotator.vocabulary import by_mimo_id
from annotator.vocabulary.instruments import ancestors
from training import evaluate, metrics, plots
from training.datasets import Picture
from training.metrics import Figure, Truth

IOUS = (0.1, 0.3, 0.5)
SAME_INSTRUMENT = 0.3  # intersection over union from which a detection shows an instrument, in the pictures of errors
NOTHING, MISSED = "no instrument", "not found"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pictures.

    Attributes:
        champion: figures of the old model: ``average`` decides, the mean of ``named_ap10``, ``named_ap30`` and
            ``named_ap50``; ``any_ap10``, ``any_ap30``, ``any_ap50`` count instruments of whatever name.
        challenger: the same of the new one.
        difference: challenger less champion, for each figure, with the interval of a paired bootstrap over artworks.
        found: what the new model found in each picture.
    """

    champion: dict[str, Figure]
    challenger: dict[str, Figure]
    difference: dict[str, Figure]
    found: tuple[Detections, ...]

    @property
    def better(self) -> bool:
        """Whether the interval of the difference that decides lies above nothing."""
        return self.difference["average"]["low"] > 0


def compare(champion: Model, challenger: Model, pictures: Sequence[Picture]) -> Comparison:
    """Judge two models on pictures all of whose instruments are known (paired bootstrap, Efron & Tibshirani 1993).

    Named average precision pools the detections of all labels: one is right if it overlaps an instrument of its own
    name. A label that the champion lacks counts as missed: learning new names is what a new model is for.

    Args:
        champion: the model in use.
        challenger: the new one.
        pictures: that neither learnt from; those of one group are drawn together, for they say the same again.
    """
    values, found = [], []
    for model in (champion, challenger):
        found = [evaluate.detections_of(model, picture.path) for picture in pictures]
        values.append(resampled(model.labels, found, pictures))
    old, new = values
    return Comparison(
        {name: metrics.figure(value) for name, value in old.items()},
        {name: metrics.figure(value) for name, value in new.items()},
        {name: metrics.figure(new[name] - old[name]) for name in new},
        tuple(found),
    )


def resampled(
    labels: Sequence[Label], found: Sequence[Detections], pictures: Sequence[Picture]
) -> dict[str, np.ndarray]:
    """The figures of `Comparison`, each on all pictures (first) and on the resamples of `metrics.draws`, of groups.

    Args:
        labels: what the labels of detections mean.
        found: in each picture.
        pictures: all of whose instruments are known.
    """
    groups = {group: number for number, group in enumerate(dict.fromkeys(picture.group for picture in pictures))}
    drawn = metrics.draws(len(groups))[:, [groups[picture.group] for picture in pictures]]
    boxes = {"named": _of_each_name(labels, found, pictures), "any": _of_any_name(found, pictures)}
    values = {
        f"{name}_ap{round(iou * 100)}": items.average_precision(iou, drawn)
        for iou in IOUS
        for name, items in boxes.items()
    }
    values["average"] = np.mean([values[f"named_ap{round(iou * 100)}"] for iou in IOUS], axis=0)
    return values


@dataclass(frozen=True)
class _Boxes:
    """Detections and truths of a collection, in items of which each belongs to one picture.

    Attributes:
        found: for each item boxes (n, 4) and scores (n,).
        truths: for each item what people drew.
        pictures: (items,) the position of each one's picture.
    """

    found: list[tuple[np.ndarray, np.ndarray]]
    truths: list[Truth]
    pictures: np.ndarray

    def average_precision(self, iou: float, drawn: np.ndarray) -> np.ndarray:
        """(k,) of the resamples ``drawn`` (k, pictures)."""
        return metrics.judge(self.found, self.truths, iou).average_precision(drawn[:, self.pictures])


def _of_any_name(found: Sequence[Detections], pictures: Sequence[Picture]) -> _Boxes:
    return _Boxes(
        [(one.boxes, one.scores) for one in found],
        [evaluate.truth_of(picture.regions) for picture in pictures],
        np.arange(len(pictures)),
    )


def _of_each_name(known: Sequence[Label], found: Sequence[Detections], pictures: Sequence[Picture]) -> _Boxes:
    """An item for each picture and label.

    What has no region of its own name counts under the nearest wider one, as it is labelled where the ontology has no
    term but Stringed instruments: else the model in use was wrong about everything people accepted.
    """
    named = sorted({region.label for picture in pictures for region in picture.regions}, key=lambda one: one.name)
    known = [_as_drawn(label, named) for label in known]
    labels = list(dict.fromkeys([*named, *known]))
    boxes, truths = [], []
    for one, picture in zip(found, pictures, strict=True):
        for label in labels:
            here = np.array([known[position] == label for position in one.labels], bool)
            boxes.append((one.boxes[here], one.scores[here]))
            own = [region for region in picture.regions if region.difficult or region.label == label]
            truths.append(evaluate.truth_of(own))
    return _Boxes(boxes, truths, np.repeat(np.arange(len(pictures)), len(labels)))


def _as_drawn(label: Label, named: Sequence[Label]) -> Label:
    """The label itself if it is among those named, else the nearest wider one that is, else itself."""
    instrument = by_mimo_id().get(label.mimo_id or -1)
    if label in named or instrument is None:
        return label
    label_of = {one.mimo_id: one for one in named if one.mimo_id is not None}
    return next((label_of[wider.mimo_id] for wider in ancestors(instrument) if wider.mimo_id in label_of), label)


def sentence(comparison: Comparison, pictures: int) -> str:
    """The verdict in a line for people."""
    old, new = (own["average"]["value"] for own in (comparison.champion, comparison.challenger))
    gain = comparison.difference["average"]
    verdict = "better" if comparison.better else "worse" if gain["high"] < 0 else "not shown to be better"
    return (
        f"The new model is {verdict} on {pictures} test images: average precision {new:.2f} against {old:.2f} "
        f"(difference {gain['value']:+.2f}, 95 % interval {gain['low']:+.2f} to {gain['high']:+.2f})."
    )


def illustrate(model: Model, found: Sequence[Detections], pictures: Sequence[Picture], out: Path) -> list[str]:
    """Write what a person looks at to see where a model fails.

    Args:
        model: whose detections.
        found: for each picture.
        pictures: with all their instruments.
        out: folder, which gets ``confusion.png``, ``precision_recall.png``, ``wrong.png`` (the surest detections where
            there is nothing, or another instrument) and ``missed.png`` (instruments not found).

    Returns:
        The names of the files that there was something to show in.
    """
    shown = [one[one.scores >= model.thresholds[one.labels]] for one in found]
    pairs: list[tuple[str, str]] = []
    wrong: list[tuple[float, Path, np.ndarray, str]] = []
    missed: list[tuple[Path, np.ndarray, str]] = []
    for one, picture in zip(shown, pictures, strict=True):
        truth = evaluate.truth_of(picture.regions)
        right, counted = metrics.match(one.boxes, one.scores, truth, SAME_INSTRUMENT)
        overlaps = intersection_over_union(one.boxes[:, None], truth.boxes) if len(truth.boxes) else None
        taken = {}
        for i in np.flatnonzero(counted):
            name = model.labels[one.labels[i]].name
            if right[i] and overlaps is not None:
                taken[int(overlaps[i].argmax())] = name
                is_name = picture.regions[int(overlaps[i].argmax())].label.name
            else:
                is_name = NOTHING
                pairs.append((NOTHING, name))
            if is_name != name:
                score, truly = float(one.scores[i]), "" if is_name == NOTHING else f", is {is_name}"
                wrong.append((score, picture.path, one.boxes[i], f"{name} {score:.2f}{truly}"))
        for number, region in enumerate(picture.regions):
            if not region.difficult:
                pairs.append((region.label.name, taken.get(number, MISSED)))
                if number not in taken:
                    missed.append((picture.path, truth.boxes[number], region.label.name))
    written = ["precision_recall.png"]
    every = _of_any_name(found, pictures)
    lines = {f"overlap {iou:g} or more": metrics.judge(every.found, every.truths, iou).curve() for iou in IOUS}
    plots.precision_recall(lines, out / "precision_recall.png")
    if pairs:
        names = sorted({name for pair in pairs for name in pair})
        place = {name: number for number, name in enumerate(names)}
        taken_for = np.eye(len(names))[[place[name] for _, name in pairs]]
        plots.confusion(taken_for, np.array([place[name] for name, _ in pairs]), names, out / "confusion.png")
        written.append("confusion.png")
    most = plots.SHEET_ROWS * plots.SHEET_COLUMNS
    surest = [(path, box, said) for _, path, box, said in sorted(wrong, key=lambda item: -item[0])]
    for name, errors in (("wrong.png", surest), ("missed.png", missed)):
        if errors:
            cut = [(open_rgb(path), box[None]) for path, box, _ in errors[:most]]
            plots.sheet(cut, [said for *_, said in errors[:most]]).save(out / name)
            written.append(name)
    return written
