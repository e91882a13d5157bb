"""A job, step by step: connect, choose images, load the model, match terms; then fetch, detect, upload each image."""

import errno
import json
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annotator.errors import AnnotatorError, ExitCode
from annotator.parameters import JobParameters, parse, parse_access
from annotator.platform import annotations, geometry, jobs, terms
from annotator.platform.connection import Connection
from annotator.platform.images import ProjectImage, choose_images, fetch_pixels
from annotator.prefetch import prefetched
from annotator.vocabulary import by_mimo_id

if TYPE_CHECKING:
    from annotator.detection import Detections
    from annotator.models.bundle import Model

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
SUMMARY_KEY = "summary"
ALTERNATIVES = 5  # other names that an annotation mentions: more than a person reads


@dataclass
class Outcome:
    """What the job has done so far.

    Attributes:
        counts: annotations stored, by image id.
        failures: one line for each image that failed, by image id.
        seconds: time spent, by stage.
    """

    counts: dict[int, int] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time that the block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def sentence(self) -> str:
        """How the job went, for a curator, in at most 255 characters."""
        found, images = sum(self.counts.values()), sum(count > 0 for count in self.counts.values())
        text = f"{_many(found, 'instrument')} in {images} of {_many(len(self.counts) + len(self.failures), 'image')}."
        if self.failures:
            text += f" {_many(len(self.failures), 'image')} failed: {'; '.join(self.failures.values())}"
        return text if len(text) <= jobs.COMMENT_LENGTH else text[: jobs.COMMENT_LENGTH - 1] + "…"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def run(argv: Sequence[str]) -> ExitCode:
    """Carry out one job, launched from Cytomine's page or from a shell.

    Whatever happens, the job's status on the server tells it, as soon as there is a job.

    Args:
        argv: the command line, as descriptor.json makes it.
    """
    job: jobs.RunningJob | None = None
    outcome = Outcome()
    try:
        with outcome.timed("connect"):
            access = parse_access(argv)
            connection = Connection(access.host, access.public_key, access.private_key)
            job = jobs.RunningJob.launched(connection)
            parameters = parse(argv)
            number = parameters.cytomine_id_project
            connection.get(f"project/{number}.json", what=f"project {number}")
            software = connection.get(
                f"software/{parameters.cytomine_id_software}.json", what=f"software {parameters.cytomine_id_software}"
            )
            job = job or jobs.RunningJob.created(connection, parameters, software)
        with tempfile.TemporaryDirectory(prefix="instruments-") as folder:
            _annotate(connection, job, parameters, outcome, Path(folder))
        if outcome.failures and not outcome.counts:
            raise AnnotatorError(outcome.sentence(), ExitCode.BAD_IMAGE)
        log.info("%s", outcome.sentence())
        job.succeed(outcome.sentence())
        return ExitCode.OK
    except AnnotatorError as error:
        return _fail(job, outcome, str(error), error.code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG):
            log.exception("Unexpected failure")
            return _fail(job, outcome, f"Unexpected failure: {error}. The log has the details.", ExitCode.INTERNAL)
        place = error.filename or tempfile.gettempdir()
        message = f"Cannot write to {place}: {error.strerror}. Free some space there, then launch again."
        return _fail(job, outcome, message, ExitCode.DISK)
    except KeyboardInterrupt:
        return _fail(job, outcome, "Interrupted.", ExitCode.INTERRUPTED)
    except Exception as error:  # a defect of ours: the curator gets a sentence, the log the rest
        log.exception("Unexpected failure")
        message = f"Unexpected failure: {type(error).__name__}: {error}. The log has the details."
        return _fail(job, outcome, message, ExitCode.INTERNAL)


def _fail(job: jobs.RunningJob | None, outcome: Outcome, message: str, code: ExitCode) -> ExitCode:
    if outcome.counts:
        message += f" Stored before: {outcome.sentence()}"
    log.error("%s", message)
    if job is not None:
        try:
            job.fail(message)
        except AnnotatorError as error:
            log.error("The server could not be told: %s", error)
    return code


def _annotate(
    connection: Connection, job: jobs.RunningJob, parameters: JobParameters, outcome: Outcome, folder: Path
) -> None:
    job.report(0, "Choosing images.", at_once=True)
    images = choose_images(connection, parameters.cytomine_id_project, parameters.cytomine_id_images)

    job.report(1, "Loading the model.", at_once=True)
    with outcome.timed("model"):
        model = _load_model(connection, parameters, folder)
    asked = parameters.threshold
    threshold, thresholds = (model.threshold, model.thresholds) if asked is None else (asked, asked)
    log.info("Model %s (%s), threshold %g.", model.name, model.version, threshold)

    known = [by_mimo_id()[label.mimo_id] for label in model.labels if label.mimo_id in by_mimo_id()]
    term_of = terms.find_terms(connection, parameters.cytomine_id_project, known, parameters.create_terms)

    from annotator.detection import detect

    start = time.monotonic()
    for image, pixels in _fetched(connection, images, outcome):
        try:
            if isinstance(pixels, AnnotatorError):
                raise pixels
            with outcome.timed("detect"):
                detections = detect(model, pixels, thresholds, parameters.max_detections)
                height, width = pixels.shape[:2]
                detections = detections.scaled(image.width / width, image.height / height)
            with outcome.timed("upload"):
                new = _as_annotations(model, detections, image, term_of)
                outcome.counts[image.id] = annotations.upload(connection, image, job.user, new)
        except AnnotatorError as error:
            if error.code is not ExitCode.BAD_IMAGE:
                raise
            log.warning("%s", error)
            outcome.failures[image.id] = str(error)
        done = len(outcome.counts) + len(outcome.failures)
        left = (time.monotonic() - start) / done * (len(images) - done)
        comment = f"{done} of {_many(len(images), 'image')}, {_many(sum(outcome.counts.values()), 'instrument')}"
        job.report(2 + 97 * done / len(images), f"{comment}, {_duration(left)} left.")

    summary = folder / SUMMARY
    summary.write_text(json.dumps(_summary(model, threshold, images, outcome), indent=1), encoding="utf-8")
    job.upload(SUMMARY_KEY, summary)


def _duration(seconds: float) -> str:
    return f"about {round(seconds / 60)} min" if seconds >= 90 else f"about {round(seconds)} s"


def _load_model(connection: Connection, parameters: JobParameters, folder: Path) -> "Model":
    # Imported late: it takes seconds, and wrong keys or parameters are told at once.
    from annotator.models import builtin, bundle

    if parameters.cytomine_id_job is None:
        return builtin.load()
    return bundle.load(jobs.fetch_model(connection, parameters.cytomine_id_job, parameters.cytomine_id_project, folder))


def _fetched(
    connection: Connection, images: Sequence[ProjectImage], outcome: Outcome
) -> Iterator[tuple[ProjectImage, np.ndarray | AnnotatorError]]:
    """Each image with its pixels, or with why it has none; the next one is fetched while the caller works on this."""
    from annotator.detection import SCAN_SIDE

    def fetch(image: ProjectImage) -> np.ndarray | AnnotatorError:
        with outcome.timed("fetch"):
            try:
                return fetch_pixels(connection, image, SCAN_SIDE)
            except AnnotatorError as error:
                return error

    return prefetched((image, fetch(image)) for image in images)


def _as_annotations(
    model: "Model", detections: "Detections", image: ProjectImage, term_of: dict[int, int]
) -> list[annotations.NewAnnotation]:
    new = []
    for outline, position, score, also in zip(
        detections.outlines, detections.labels, detections.scores, detections.alternatives, strict=True
    ):
        label = model.labels[position]
        location = geometry.to_location(outline, image.width, image.height)
        if location is None:
            continue
        properties = {"score": f"{score:.4f}", "instrument": label.name, "model": f"{model.name} {model.version}"}
        if label.mimo_id is not None:
            properties["mimo_id"] = str(label.mimo_id)
        if also:
            properties["also"] = ", ".join(
                f"{model.labels[other].name} {value:.4f}" for other, value in list(also.items())[:ALTERNATIVES]
            )
        term = term_of.get(label.mimo_id or -1)
        new.append(annotations.NewAnnotation(location, (term,) if term else (), properties))
    return new


def _summary(model: "Model", threshold: float, images: Sequence[ProjectImage], outcome: Outcome) -> dict[str, object]:
    return {
        "model": {"name": model.name, "version": model.version},
        "labels": [{"name": label.name, "mimo_id": label.mimo_id} for label in model.labels],
        "default_threshold": model.threshold,
        "threshold": threshold,
        "seconds": {stage: round(seconds, 3) for stage, seconds in outcome.seconds.items()},
        "images": [
            {"id": image.id, "name": image.name, "annotations": outcome.counts.get(image.id, 0)}
            | ({"error": outcome.failures[image.id]} if image.id in outcome.failures else {})
            for image in images
        ],
    }
