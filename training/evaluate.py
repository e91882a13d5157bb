"""Judge a model on labelled pictures that it has not seen."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np

from annotator.detection import Detections, detector
from annotator.detection.windows import label_probabilities
from annotator.errors import AnnotatorError, ExitCode
from annotator.models import builtin, bundle
from annotator.models.bundle import Label, Model
from annotator.vocabulary import by_mimo_id
from training import datasets, metrics, plots, transfer
from training.datasets import Picture, Region, labels_of
from training.datasets.pictures import read_shrunk
from training.metrics import Figure, Truth
from training.samples import Sample
from training.splits import readable

LOWEST = 0.02  # least score of the detections that a precision-recall curve is made of
MOST = 100  # detections of one picture


def run(model_path: Path | None, data: Path, format_name: str | None, out: Path) -> dict[str, Figure]:
    """Judge a model on a folder of pictures and write ``out/metrics.json`` and pictures.

    Photographs that show one instrument each give accuracy, macro-F1 and calibration error; pictures with boxes give
    average precisions: ``ap*`` with the right term, ``family_*`` with a term of the right family, ``any_instrument_*``.

    Raises:
        AnnotatorError: (BAD_MODEL, USAGE, BAD_IMAGE) the model, the folder or all of its pictures cannot be used.
    """
    model = bundle.load(model_path) if model_path else builtin.load()
    fingerprints = readable(datasets.read(data, format_name))
    pictures = list(fingerprints)
    learnt = set(model.configuration.training_pictures)
    seen = sum(not learnt.isdisjoint((one.sha256, *picture.sources)) for picture, one in fingerprints.items())
    if seen:
        print(
            f"{seen} of the {len(pictures)} pictures are among those that the model learnt from, or were made of them: "
            "the figures flatter it.",
            file=sys.stderr,
        )
    unknown = [label.name for label in labels_of(pictures) if label not in model.labels]
    if unknown:
        print(f"The model has no name for {', '.join(unknown)}: counted as never right.", file=sys.stderr)
    out.mkdir(parents=True, exist_ok=True)
    with_boxes = not all(
        len(picture.regions) == 1 and (picture.regions[0].box is None or format_name == "mimo") for picture in pictures
    )
    figures = detection_figures(model, pictures, out) if with_boxes else _classification(model, pictures, out)
    if not figures:
        raise AnnotatorError(
            f"All boxes in the {len(pictures)} pictures are difficult, or crowds, and each picture has some: there is "
            "nothing to judge by.",
            ExitCode.USAGE,
        )
    (out / "metrics.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(metrics.sentence(figures), flush=True)
    return figures


def detections_of(model: Model, path: Path) -> Detections:
    """What a model finds in a picture, in pixels of the file, down to the score `LOWEST`."""
    image, width, height = read_shrunk(path)
    return detector.detect(model, image, LOWEST, MOST).scaled(width / image.shape[1], height / image.shape[0])


def truth_of(regions: Sequence[Region]) -> Truth:
    """The boxes of regions, of whatever label."""
    return Truth(
        np.array([region.box for region in regions], float).reshape(-1, 4),
        np.array([region.difficult for region in regions], bool),
    )


def _classification(model: Model, pictures: Sequence[Picture], out: Path) -> dict[str, Figure]:
    position = {label: number for number, label in enumerate(model.labels)}
    for label in labels_of(pictures):
        position.setdefault(label, min(0, *position.values()) - 1)  # each its own: all of them count in macro-F1
    targets = np.array([position[picture.regions[0].label] for picture in pictures])
    samples = [Sample(picture.path, picture.regions[0].box, 0) for picture in pictures]
    logits = transfer.features_of(transfer.looking(model.network, "head"), samples, 1, 0)[0]
    probabilities = label_probabilities(
        logits / model.configuration.temperature, np.array(model.configuration.class_labels)
    )
    known = targets >= 0
    names = [label.name for label in model.labels]
    plots.confusion(probabilities[known], targets[known], names, out / "confusion.png")
    plots.reliability({model.name: probabilities}, targets, out / "calibration.png")
    return metrics.classification(probabilities, targets)


def detection_figures(model: Model, pictures: Sequence[Picture], out: Path) -> dict[str, Figure]:
    """Average precisions of a model on pictures with boxes, and a picture of precision over recall in ``out``."""
    found, empty = [], []
    for number, picture in enumerate(pictures, start=1):
        image, width, height = read_shrunk(picture.path)
        levels = detector.scan(model, image)
        own = detector.detect(model, image, LOWEST, MOST, levels=levels)
        found.append(own.scaled(width / image.shape[1], height / image.shape[0]))
        if not picture.regions:  # with the thresholds of a job: a box below its own hides no other
            empty.append(len(detector.detect(model, image, model.thresholds, MOST, levels=levels)))
        if number % 10 == 0 or number == len(pictures):
            print(f"{number} of {len(pictures)} pictures scanned", flush=True)

    result: dict[str, Figure] = {}
    lines = {}
    keys: dict[str, Callable[[Label], Hashable]] = {"": _own, "family_": _family, "any_instrument_": _any}
    for prefix, key in keys.items() if labels_of(pictures) else ():
        by_class, truths = _by_class(model, pictures, found, key)
        result |= {prefix + name: value for name, value in metrics.detection(by_class, truths).items()}
        if prefix == "any_instrument_":
            for iou in (0.1, 0.3, 0.5):
                judged = metrics.judge(by_class["instrument"], truths["instrument"], iou)
                lines[f"overlap {iou:g} or more"] = judged.curve()
    if lines:
        plots.precision_recall(lines, out / "precision_recall.png")
    if empty:
        result["false_boxes_per_empty_picture"] = metrics.with_interval(
            lambda chosen: float(np.mean(np.array(empty)[chosen])), len(empty)
        )
    return result


def _own(label: Label) -> Hashable:
    return label


def _family(label: Label) -> Hashable:
    """Category and family; an instrument of none, which MIMO lists under "Others", is a family of its own."""
    instrument = by_mimo_id().get(label.mimo_id or -1)
    if instrument is None or instrument.family == "Others":
        return label
    return instrument.category, instrument.family


def _any(label: Label) -> Hashable:
    return "instrument"


def _by_class(
    model: Model, pictures: Sequence[Picture], found: Sequence[Detections], key: Callable[[Label], Hashable]
) -> tuple[dict[Hashable, list[tuple[np.ndarray, np.ndarray]]], dict[Hashable, list[Truth]]]:
    """Detections and truths by class, for each picture; difficult boxes stand in every class."""
    of_label = [key(label) for label in model.labels]
    classes = {key(region.label) for picture in pictures for region in picture.regions}
    detections: dict[Hashable, list[tuple[np.ndarray, np.ndarray]]] = {}
    truths: dict[Hashable, list[Truth]] = {}
    for name in classes:
        labels = [number for number, own in enumerate(of_label) if own == name]
        here = [np.isin(one.labels, labels) for one in found]
        detections[name] = [(one.boxes[chosen], one.scores[chosen]) for one, chosen in zip(found, here, strict=True)]
        truths[name] = []
        for picture in pictures:
            own = [region for region in picture.regions if region.difficult or key(region.label) == name]
            truths[name].append(truth_of(own))
    return detections, truths
