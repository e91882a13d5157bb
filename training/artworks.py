"""The stage that learns from pictures with boxes: artworks that people annotated, or composites that need nobody.

The label head learns as it does from what people validate in Cytomine (`training.feedback`), then the box head
(`training.detector`), both on what the frozen backbone sees. In mode full all layers go on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from annotator.detection import detector as scanner
from annotator.errors import AnnotatorError, ExitCode
from annotator.models import bundle
from annotator.models.bundle import Model
from training import calibration, detector, devices, evaluate, feedback, loop, metrics, plots, runs, transfer
from training.datasets import Picture, labels_of
from training.datasets.pictures import read_shrunk
from training.runs import Settings

LABEL_HEAD = "label_head.zip"  # the model whose label head has learnt and nothing else yet
LABEL_PICTURES = 500  # that the label head learns from at the most; each takes a second
BOX_HEAD = "box_head"  # folder of the box head's own training, before that of all layers
RIGHT = 0.5  # intersection over union from which a detection is right, where scores are calibrated
PRECISION = 0.5  # that the thresholds are chosen for
LEAST_FOUND = 20  # detections of a label on the development split, from which it gets a threshold of its own


def run(settings: Settings, out: Path) -> Model:
    """Train a detector on pictures with boxes and leave the model in ``out/model``.

    The run folder is that of `training.photographs`. A run that was killed goes on where it was when it is started
    again with the same settings.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL, BAD_IMAGE) the folder holds another run; no picture has a box; see
            `datasets`.
    """
    devices.prepare(settings.seed)
    begun = bundle.load(Path(settings.model)) if settings.model else None
    runs.claim(out, settings, begun)
    _, fingerprints = runs.read_sources(settings)
    pictures = with_boxes(list(fingerprints))
    labels = labels_of(pictures)
    parts = runs.part(pictures, fingerprints, begun, settings.seed, out / runs.SPLITS)
    print(f"{len(pictures)} pictures of {len(labels)} instruments: {runs.sizes(parts)}.", flush=True)
    box_head = out / BOX_HEAD
    box_head.mkdir(exist_ok=True)
    if begun is None:
        begun = transfer.start(settings.backbone, settings.weights, labels)
    model = with_label_head(transfer.extended(begun, labels, boxes=True), parts.training, out, settings.seed)
    detector.train_box_head(
        model, parts.training, parts.development, box_head, seed=settings.seed, epochs=settings.epochs
    )
    plots.curves(box_head / loop.LOG, box_head / "curves.png")
    if settings.mode == "full":
        detector.train_all(model, parts.training, parts.development, out, seed=settings.seed, epochs=settings.epochs)
        plots.curves(out / loop.LOG, out / "curves.png")
    before = box_score(model)
    model = calibrated(model, parts.development)
    figures = evaluate.detection_figures(model, parts.test, out)
    found = found_in(model, parts.test, [box_score(model), before])
    for name, own in zip(("ece", "ece_before_calibration"), found, strict=True):
        figures[name] = calibration_error(own)
    print(f"On {len(parts.test)} test pictures: {metrics.sentence(figures)}.", flush=True)
    return runs.save(model, "artworks", settings, parts, fingerprints, figures, out)


def with_boxes(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures whose instruments all have boxes; how many others there are is told.

    Raises:
        AnnotatorError: (USAGE) no instrument that counts has one.
    """
    boxed = [picture for picture in pictures if all(region.box for region in picture.regions)]
    if len(boxed) < len(pictures):
        print(f"{len(pictures) - len(boxed)} pictures name an instrument without a box: left out.", file=sys.stderr)
    if not labels_of(boxed):
        raise AnnotatorError(
            "No picture has a box around an instrument: there is nothing to learn from. Draw some, or use compose.",
            ExitCode.USAGE,
        )
    return boxed


def with_label_head(model: Model, training: Sequence[Picture], out: Path, seed: int) -> Model:
    """The model with a label head that has learnt from pictures, at most `LABEL_PICTURES`; learnt once a run.

    Args:
        model: stays as it is.
        training: what is learnt from.
        out: the run's folder, where the result is kept.
        seed: of the choice, where there are more pictures.
    """
    path = out / LABEL_HEAD
    if not path.exists():
        chosen = np.sort(np.random.default_rng(seed).permutation(len(training))[:LABEL_PICTURES])
        learnt = feedback.learn(model, [training[number] for number in chosen])
        new = path.with_suffix(".new.zip")
        bundle.save(learnt, new)
        new.replace(path)
    return bundle.load(path)


class Found(NamedTuple):
    """What a model finds in pictures, after suppression: n detections; those of difficult instruments are left out.

    Attributes:
        witnesses: (n, 2) of `detector.witnesses`.
        scores: (n,).
        labels: (n,).
        right: (n,) whether each overlaps an instrument of whatever name by `RIGHT` or more, as `metrics.match` decides.
    """

    witnesses: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    right: np.ndarray


Weights = tuple[float, float, float]  # of `detector.box_scores`


def box_score(model: Model) -> Weights:
    """The weights that a model scores detections by."""
    return model.configuration.box_score or transfer.UNTRAINED_BOX_SCORE


def found_in(model: Model, pictures: Sequence[Picture], every_weights: Sequence[Weights]) -> list[Found]:
    """What a model finds if it scores by each of several weights."""
    nothing = Found(np.zeros((0, 2)), np.zeros(0), np.zeros(0, int), np.zeros(0, bool))
    rows = [[nothing] for _ in every_weights]
    for number, picture in enumerate(pictures, start=1):
        image, width, _ = read_shrunk(picture.path)
        found, objectness, activations = scanner.candidates(model, image, scanner.WORTH_REFINING)
        witnesses = scanner.witnesses(objectness, found.scores)
        found = scanner.named_inside(found, activations, image.shape[1], image.shape[0])
        truth = evaluate.truth_of(picture.regions)
        for own, weights in zip(rows, every_weights, strict=True):
            scored = replace(found, scores=scanner.box_scores(objectness, found.scores, weights))
            kept = scanner.best_of_each(scored)
            boxes = scored.boxes[kept] * (width / image.shape[1])
            right, counted = metrics.match(boxes, scored.scores[kept], truth, RIGHT)
            kept = kept[counted]
            own.append(Found(witnesses[kept], scored.scores[kept], scored.labels[kept], right[counted]))
        if number % 50 == 0 or number == len(pictures):
            print(f"{number} of {len(pictures)} pictures scanned to calibrate by", flush=True)
    return [Found(*map(np.concatenate, zip(*own, strict=True))) for own in rows]


def calibrated(model: Model, development: Sequence[Picture]) -> Model:
    """The model with the score and the thresholds that fit pictures that it did not learn from.

    The score becomes the probability that a detection is right, the thresholds the lowest scores from which detections
    are right with probability `PRECISION`; a label found less than `LEAST_FOUND` times has the threshold of all. Where
    the pictures do not carry that, it is said.
    """
    ((witnesses, _, labels, right),) = found_in(model, development, [box_score(model)])
    if not right.any() or right.all():
        print(
            f"{right.sum()} of {len(right)} detections on the development split are right: too few to calibrate by. "
            "Scores are no probabilities, and thresholds are as they were. Add pictures with boxes.",
            file=sys.stderr,
        )
        return model
    a, b, c = calibration.fit_box_score(witnesses, right)
    scores = scanner.box_scores(witnesses[:, 0], expit(witnesses[:, 1]), (a, b, c))
    threshold = calibration.threshold_for(scores, right, PRECISION)
    if threshold == 1:
        print(
            f"At no score are detections on the development split right with probability {PRECISION:g}: by itself the "
            "model shows none or few. Add pictures with boxes, or give a threshold where it is used.",
            file=sys.stderr,
        )
    thresholds = [
        calibration.threshold_for(scores[labels == label], right[labels == label], PRECISION)
        if (labels == label).sum() >= LEAST_FOUND
        else threshold
        for label in range(len(model.labels))
    ]
    configuration = replace(model.configuration, box_score=(a, b, c), threshold=threshold, thresholds=tuple(thresholds))
    return Model(configuration, model.network, "")


def calibration_error(found: Found) -> metrics.Figure:
    """How far the scores of detections are from the share that is right, with its interval over detections."""
    if not len(found.scores):
        return metrics.Figure(value=0.0, low=0.0, high=0.0)
    return metrics.calibration_error(found.scores, found.right)
