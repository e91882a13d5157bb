"""The stage that learns from photographs: read, part, train, calibrate, judge, save."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from annotator.detection.windows import label_probabilities
from annotator.errors import AnnotatorError, ExitCode
from annotator.models import bundle
from annotator.models.bundle import Label, Model
from training import calibration, devices, metrics, plots, runs, transfer
from training.datasets import Picture, labels_of
from training.runs import Settings
from training.samples import Sample, samples_of
from training.splits import Fingerprint, Split

LEAST_OBJECTS = 5  # of a label: fewer cannot be parted into training, development and test
FEATURES = "features.npz"


def run(settings: Settings, out: Path) -> Model:
    """Train on photographs and leave the model in ``out/model``.

    Besides it the run folder holds ``config.json``, ``splits.csv`` (which picture was for what), ``metrics.json`` and
    pictures of the curves, confusions and calibration. A run that was killed goes on where it was when it is started
    again with the same settings.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL, BAD_IMAGE) the folder holds another run; the data do not do; see `datasets`.
    """
    devices.prepare(settings.seed)
    begun = bundle.load(Path(settings.model)) if settings.model else None
    runs.claim(out, settings, begun)
    sources, fingerprints = runs.read_sources(settings)
    pictures = enough(list(fingerprints))
    # All are parted, as in `compose` and `stylise`, which do not know what is left out here.
    parts = runs.part(list(fingerprints), fingerprints, begun, settings.seed, out / runs.SPLITS).only(pictures)

    labels = labels_of(pictures)
    print(f"{len(pictures)} photographs of {len(labels)} instruments: {runs.sizes(parts)}.", flush=True)
    model = transfer.extended(begun, labels) if begun else transfer.start(settings.backbone, settings.weights, labels)
    training, development, test = (
        samples_of(part, model.labels) for part in (parts.training, parts.development, parts.test)
    )
    seen = features(model, training, development, out / FEATURES, settings.seed)
    transfer.train_head(model, *seen)
    if settings.mode == "full":
        source_of = {picture: number for number, own in enumerate(sources) for picture in own}
        numbers = [source_of[picture] for picture in parts.training for _ in picture.regions]
        transfer.train_full(
            model, training, np.array(numbers), development, out, seed=settings.seed, epochs=settings.epochs
        )
        plots.curves(out / "log.csv", out / "curves.png")
    return finish(model, "photographs", settings, development, test, fingerprints, parts, out)


def enough(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures whose labels have at least `LEAST_OBJECTS` objects; the labels left out are named.

    Raises:
        AnnotatorError: (USAGE) fewer than two labels are left.
    """
    objects: dict[Label, set[str]] = {}
    for picture in pictures:
        for region in picture.regions:
            objects.setdefault(region.label, set()).add(picture.group)
    few = {label for label, groups in objects.items() if len(groups) < LEAST_OBJECTS}
    for label in few:
        print(
            f"{label.name!r} has {len(objects[label])} objects, {LEAST_OBJECTS} are the least: left out.",
            file=sys.stderr,
        )
    if len(objects) - len(few) < 2:
        raise AnnotatorError(
            f"Photographs of {len(objects) - len(few)} instrument with {LEAST_OBJECTS} or more objects: a classifier "
            "needs at least two to tell apart. Add pictures of others.",
            ExitCode.USAGE,
        )
    return [picture for picture in pictures if any(region.label not in few for region in picture.regions)]


def features(
    model: Model, training: Sequence[Sample], development: Sequence[Sample], cache: Path, seed: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Features and targets of training (all views) and development, computed once a run.

    Args:
        model: the network, whose head does not matter.
        training: samples that are learnt from.
        development: samples that are not.
        cache: file in which they are kept.
        seed: of the views.
    """
    digest = hashlib.sha256(repr((training, development, seed)).encode())
    for weight in model.network.weights:
        if "head" not in weight.path:
            digest.update(np.asarray(weight).tobytes())
    views = 1 + transfer.VIEWS
    stored = dict(np.load(cache, allow_pickle=False)) if cache.is_file() else {}
    if str(stored.get("key")) != digest.hexdigest():
        network = transfer.looking(model.network, "features")
        print(f"Looking at {views} views of {len(training)} crops to learn from:", flush=True)
        stored = {
            "key": np.array(digest.hexdigest()),
            "training": transfer.features_of(network, training, views, seed),
            "development": transfer.features_of(network, development, 1, seed),
        }
        archive = io.BytesIO()
        np.savez(archive, **stored)
        runs.write_whole(cache, archive.getvalue())
    targets = np.array([sample.target for sample in training])
    held = np.array([sample.target for sample in development])
    return (np.concatenate(stored["training"]), np.tile(targets, views)), (stored["development"][0], held)


def finish(
    model: Model,
    stage: str,
    settings: Settings,
    development: Sequence[Sample],
    test: Sequence[Sample],
    fingerprints: dict[Picture, Fingerprint],
    parts: Split,
    out: Path,
) -> Model:
    """Calibrate on the development split, judge on the test split, save.

    Args:
        model: as trained.
        stage: its name, for people.
        settings: of the run.
        development: samples of the development split.
        test: samples of the test split.
        fingerprints: of all pictures in ``parts``.
        parts: which picture was for what.
        out: the run's folder.
    """
    network = transfer.looking(model.network, "head")
    held, judged = (transfer.features_of(network, samples, 1, settings.seed)[0] for samples in (development, test))
    class_labels = np.array(model.configuration.class_labels)
    temperature = calibration.fit_temperature(held, np.array([sample.target for sample in development]), class_labels)
    targets = np.array([sample.target for sample in test])
    before, after = (label_probabilities(judged / divisor, class_labels) for divisor in (1, temperature))
    ece_before = metrics.calibration_error(before.max(axis=1), before.argmax(axis=1) == targets)
    result = {**metrics.classification(after, targets), "ece_before_calibration": ece_before}
    names = [label.name for label in model.labels]
    plots.confusion(before, targets, names, out / "confusion.png")
    lines = {"before": before, f"temperature {temperature:.2f}": after}
    plots.reliability(lines, targets, out / "calibration.png")
    print(
        f"On {len(test)} test photographs of {len(np.unique(targets))} instruments: {metrics.sentence(result)}.",
        flush=True,
    )

    calibrated = Model(replace(model.configuration, temperature=temperature), model.network, "")
    return runs.save(calibrated, stage, settings, parts, fingerprints, result, out)
