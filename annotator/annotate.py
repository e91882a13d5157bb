"""Annotate images: choose them, load the model, match terms; then fetch, detect and upload, all three at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annotator import cluster, look_next, model_in_use
from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import Outcome, many
from annotator.parameters import LONGEST_SIDE, JobParameters
from annotator.pipeline import overlapped
from annotator.platform import geometry, jobs, records, terms
from annotator.platform.annotations import NewAnnotation, upload
from annotator.platform.connection import Connection
from annotator.platform.images import FETCHERS, ProjectImage, choose_images, fetch_or_why_not, fetch_rectangle
from annotator.report.coco import alternatives_text
from annotator.vocabulary import by_mimo_id

if TYPE_CHECKING:
    from annotator.detection import Detections, Finer
    from annotator.models.bundle import Label, Model

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
SUMMARY_KEY = "summary"
REPORT = "report.html"
REPORT_KEY = "report"
# An image, what is to be stored of it or why there is nothing, and what is remembered of it.
_Found = tuple[ProjectImage, "list[NewAnnotation] | AnnotatorError", look_next.Looked | None]
FAILED_SHARE = 0.5  # of the images: a job in which more than this failed has failed itself


def annotate(
    connection: Connection,
    job: jobs.RunningJob,
    parameters: JobParameters,
    outcome: Outcome,
    folder: Path,
    scheduler: str | None = None,
    model: Model | None = None,
) -> str:
    """Find the instruments in the images that were chosen, and store them in the job's layer.

    Args:
        connection: with the job's keys.
        job: whose layer.
        parameters: what was asked for.
        outcome: filled image by image, so that it is right whenever this ends.
        folder: for temporary files.
        scheduler: address of a Dask cluster whose workers look at the images; None: this process does.
        model: to find them with; None: the one that the parameters name.

    Returns:
        How it went, for the job's page.

    Raises:
        AnnotatorError: it cannot go on, or more than `FAILED_SHARE` of the images failed.
    """
    if scheduler is not None and parameters.longest_side > LONGEST_SIDE:
        raise AnnotatorError(
            f"--longest_side is {parameters.longest_side}, but workers are sent no more than {LONGEST_SIDE} pixels. "
            "Leave out --longest_side or --scheduler.",
            ExitCode.USAGE,
        )
    job.report(0, "Choosing images.", at_once=True)
    images = choose_images(connection, parameters.cytomine_id_project, parameters.cytomine_id_images)

    resumed = records.earlier_jobs(connection, parameters.resume, parameters.cytomine_id_project)
    if model is None:
        job.report(1, "Loading the model.", at_once=True)
        with outcome.timed("model"):
            model = model_in_use.load(connection, parameters, folder, resumed)
    asked = parameters.threshold
    threshold, thresholds = (model.threshold, model.thresholds) if asked is None else (asked, asked)
    log.info("Model %s (%s), threshold %g.", model.name, model.version, threshold)

    identity = f"{model.name} {model.version}"
    looking = identity
    if parameters.longest_side > LONGEST_SIDE:  # what was looked at in less detail is not done
        looking += f" at {parameters.longest_side} pixels"
    settings = (
        f"{looking}, threshold {'its own' if asked is None else asked}, at most {parameters.max_detections} detections"
    )
    earlier = _earlier(connection, job, parameters, resumed, settings, looking, images, outcome)
    waiting = [image for image in images if image.id not in outcome.earlier]

    term_of = _terms_of(connection, parameters, model)

    from annotator.detection import SCAN_SIDE

    evidence = None
    if parameters.evidence:
        from annotator.evidence import Evidence

        evidence = Evidence(model)

    def tell(image: ProjectImage, share: float) -> None:
        done = len(outcome.counts) + len(outcome.failures)
        comment = f"{done} of {many(len(waiting), 'image')}; of the next, {image.name}, {share:.0%}."
        _report_share(job, done + share, len(waiting), comment)

    # What a stage cannot do for one image travels on in the place of its result; the others go on.
    def fetch(image: ProjectImage) -> tuple[ProjectImage, np.ndarray | AnnotatorError]:
        with outcome.timed("fetch"):
            return image, fetch_or_why_not(connection, image, SCAN_SIDE)

    def find(fetched: tuple[ProjectImage, np.ndarray | AnnotatorError]) -> _Found:
        image, pixels = fetched
        if isinstance(pixels, AnnotatorError):
            return image, pixels, None
        levels = _finer_levels(connection, image, parameters.longest_side)
        more = {"finer": _told_by_tenths(levels, model, partial(tell, image))} if levels else {}
        shown = None
        try:
            with outcome.timed("detect"):
                examination = look(pixels, thresholds, parameters.max_detections, **more)
            detections = examination.detections
            if evidence is not None:
                with outcome.timed("explain"):
                    shown = evidence.of(image, pixels, detections, levels)
        except AnnotatorError as error:
            if error.code is not ExitCode.BAD_IMAGE:
                raise
            return image, AnnotatorError(f"{image.name}: {error}", error.code), None
        height, width = pixels.shape[:2]
        detections = detections.scaled(image.width / width, image.height / height)
        remembered = look_next.Looked.at(image, pixels, examination.doubt, examination.appearance)
        return image, as_annotations(model, detections, image, term_of, shown), remembered

    store = partial(_store, connection, job, outcome, earlier)
    with ExitStack() as stack:
        if scheduler is None:
            look, at_once = cluster.here(model)
        else:
            look, at_once = stack.enter_context(cluster.workers(scheduler, model, f"job-{job.id}"))
        stored = stack.enter_context(overlapped(waiting, (fetch, FETCHERS), (find, at_once), (store, 1)))
        looked, unseen = _followed(job, outcome, stored, len(waiting))

    own_thresholds = _own_thresholds(model, asked)
    if evidence is not None:
        info = {
            "model": identity,
            "default_threshold": model.threshold,
            "threshold": threshold,
            "thresholds": own_thresholds,
            "seconds": dict(outcome.seconds),
            "earlier": {"images": len(outcome.earlier), "job": parameters.resume},
        }
        report = folder / REPORT
        report.write_text(evidence.report(images, outcome.failures, info), encoding="utf-8")
        job.upload(REPORT_KEY, report)
    next_ones = look_next.publish(connection, job, parameters.cytomine_id_project, looked, unseen, folder)
    summary = folder / SUMMARY
    told = _summary(model, threshold, images, outcome) | {
        "thresholds": own_thresholds,
        "look_next": [image.id for image in next_ones],
    }
    summary.write_text(json.dumps(told, indent=1), encoding="utf-8")
    job.upload(SUMMARY_KEY, summary)
    if len(outcome.failures) > FAILED_SHARE * len(images):
        raise AnnotatorError(f"More than half of the images: {outcome.failed()}", ExitCode.BAD_IMAGE)
    advice = f"{many(len(next_ones), 'image')} to look at next: {look_next.PAGE}." if next_ones else ""
    return " ".join(filter(None, (outcome.sentence(), advice, outcome.failed())))


def _earlier(
    connection: Connection,
    job: jobs.RunningJob,
    parameters: JobParameters,
    resumed: Sequence[records.Record],
    settings: str,
    model: str,
    images: Sequence[ProjectImage],
    outcome: Outcome,
) -> list[int] | None:
    """Users of the jobs that this one goes on with, None if it has just begun; fills ``outcome.earlier``."""
    project = parameters.cytomine_id_project
    own = records.read(connection, job.id, project)  # slurm may start a job again after a node was lost
    done = records.done_by_model(connection, project, model) if parameters.skip_annotated else {}
    records.check_settings(resumed, settings)
    if own.settings not in (None, settings):
        raise AnnotatorError(
            f"This job worked with {own.settings}, now with {settings}: together they would mix. Launch a new one.",
            ExitCode.USAGE,
        )
    if own.settings is None:
        records.begin(connection, job.id, settings, model, parameters.resume)
    for record in (own, *resumed):
        done |= record.done
    outcome.earlier |= {image.id: done[image.id] for image in images if image.id in done}
    return None if own.settings is None and not resumed else [record.user for record in resumed]


def _terms_of(connection: Connection, parameters: JobParameters, model: Model) -> dict[Label, int]:
    """The project's term for each label of the model that has one."""
    key_of = {label: label.mimo_id if label.mimo_id in by_mimo_id() else label.name for label in model.labels}
    instruments = [by_mimo_id()[key] for key in key_of.values() if isinstance(key, int)]
    others = [key for key in key_of.values() if isinstance(key, str)]
    found = terms.find_terms(connection, parameters.cytomine_id_project, instruments, others, parameters.create_terms)
    return {label: found[key] for label, key in key_of.items() if key in found}


def _finer_levels(connection: Connection, image: ProjectImage, longest_side: int) -> Finer | None:
    """The larger sizes in which an image is looked at, too, read from the server piece by piece; None without any."""
    from annotator.detection import Finer, finer_sizes

    sizes = finer_sizes(image.width, image.height, longest_side)
    return Finer(sizes, partial(fetch_rectangle, connection, image)) if sizes else None


def _told_by_tenths(levels: Finer, model: Model, tell: Callable[[float], None]) -> Finer:
    """The same levels; after each tenth of what is to be read of them, if it is ten pieces, the share is told."""
    from annotator.detection import Finer, reads

    total, done = reads(model, levels.sizes), 0

    def read(*arguments: Any) -> np.ndarray:
        nonlocal done
        found = levels.read(*arguments)
        done += 1
        if total >= 10 and 10 * done // total > 10 * (done - 1) // total:
            tell(done / total)
        return found

    return Finer(levels.sizes, read)


def _store(
    connection: Connection,
    job: jobs.RunningJob,
    outcome: Outcome,
    earlier: Sequence[int] | None,
    found: _Found,
) -> look_next.Looked | None:
    """Store what was found in one image and write down that it is done, or why it failed.

    Args:
        connection: with the job's keys.
        job: whose layer.
        outcome: filled.
        earlier: see `_earlier`.
        found: the image, and what was found in it.

    Returns:
        What is remembered of the image, None where it failed.
    """
    image, new, remembered = found
    if not isinstance(new, AnnotatorError):
        try:
            with outcome.timed("upload"):
                count = upload(connection, image, job.user, new, earlier)
                records.finish(connection, job.id, image.id, count)
                outcome.counts[image.id] = count
            return remembered
        except AnnotatorError as error:
            if error.code is not ExitCode.BAD_IMAGE:
                raise
            new = error
    log.warning("%s", new)
    outcome.failures[image.id] = str(new)
    return None


def _followed(
    job: jobs.RunningJob, outcome: Outcome, stored: Iterable[look_next.Looked | None], total: int
) -> tuple[list[look_next.Looked], int]:
    """Tell on the job's page how far the images are, while they are stored.

    Args:
        job: whose page.
        outcome: what is done so far.
        stored: comes image by image: what `_store` returns.
        total: images.

    Returns:
        What is remembered of the most doubtful images, and how many of all nobody has looked through.
    """
    looked: list[look_next.Looked] = []
    unseen = 0  # not all stay in the list
    start = time.monotonic()
    for done, remembered in enumerate(stored, start=1):
        if remembered is not None:
            looked.append(remembered)
            unseen += not remembered.image.looked_through
        if len(looked) > 2 * look_next.KEPT:
            looked = look_next.most_doubtful(looked)
        _report_share(job, done, total, _progress(outcome, done, total, time.monotonic() - start))
    return looked, unseen


def _report_share(job: jobs.RunningJob, done: float, total: int, comment: str) -> None:
    """Tell how many images are done, as the part of the job's progress (percent) between loading and its last files."""
    job.report(2 + 97 * done / total, comment)


def _progress(outcome: Outcome, done: int, total: int, seconds: float) -> str:
    """How far the images are, how fast they go and how long it will take."""
    comment = f"{done} of {many(total, 'image')}, {many(sum(outcome.counts.values()), 'instrument')}"
    if outcome.failures:
        comment += f", {len(outcome.failures)} failed"
    left = seconds / done * (total - done)
    return f"{comment}; {60 * done / seconds:.0f} images a minute, {_duration(left)} left."


def _duration(seconds: float) -> str:
    return f"about {round(seconds / 60)} min" if seconds >= 90 else f"about {round(seconds)} s"


def as_annotations(
    model: Model,
    detections: Detections,
    image: ProjectImage,
    term_of: dict[Label, int],
    evidence: Sequence[bytes] | None = None,
) -> list[NewAnnotation]:
    """What is stored of the detections in one image.

    Args:
        model: that made them.
        detections: in pixels of the image.
        image: which.
        term_of: id of the ontology's term for a label, where it has one.
        evidence: a JPEG for each detection.
    """
    new = []
    names = [label.name for label in model.labels]
    for outline, position, score, also, shown in zip(
        detections.outlines,
        detections.labels,
        detections.scores,
        detections.alternatives,
        evidence or [b""] * len(detections),
        strict=True,
    ):
        label = model.labels[position]
        location = geometry.to_location(outline, image.width, image.height)
        if location is None:
            continue
        properties = {"score": f"{score:.4f}", "instrument": label.name, "model": f"{model.name} {model.version}"}
        if label.mimo_id is not None:
            properties["mimo_id"] = str(label.mimo_id)
        if also:
            properties["also"] = alternatives_text(names, also)
        term = term_of.get(label)
        new.append(NewAnnotation(location, (term,) if term else (), properties, shown))
    return new


def _own_thresholds(model: Model, asked: float | None) -> dict[str, float]:
    """The threshold of each label by its name; none where the one of all, or the one that was asked for, counts."""
    own = model.configuration.thresholds
    if asked is not None or not own:
        return {}
    return {label.name: threshold for label, threshold in zip(model.labels, own, strict=True)}


def _summary(model: Model, threshold: float, images: Sequence[ProjectImage], outcome: Outcome) -> dict[str, object]:
    return {
        "model": {"name": model.name, "version": model.version},
        "labels": [{"name": label.name, "mimo_id": label.mimo_id} for label in model.labels],
        "default_threshold": model.threshold,
        "threshold": threshold,
        "seconds": {stage: round(seconds, 3) for stage, seconds in outcome.seconds.items()},
        "images": [
            {"id": image.id, "name": image.name, "annotations": (outcome.earlier | outcome.counts).get(image.id, 0)}
            | ({"error": outcome.failures[image.id]} if image.id in outcome.failures else {})
            for image in images
        ],
    }
