"""Learn from what people said in a project: train on it, judge the new model against the one in use, keep the best."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annotator import model_in_use, training_set
from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import Outcome, many
from annotator.parameters import JobParameters
from annotator.platform import image_uses, jobs, promotion
from annotator.platform.connection import Connection

if TYPE_CHECKING:
    from annotator.models.bundle import Label, Model
    from annotator.models.examples import Examples
    from training.champion import Comparison
    from training.datasets import Picture, Region
    from training.style.stylise import Restyle

log = logging.getLogger(__name__)

LEAST_TEST = 4  # artworks with instruments that a test takes to say anything
EXAMPLES, MOST_EXAMPLES = 20, 600  # of a label, and of all, that are kept with the model
COPIES = "copies"  # folder of restyled copies
IMAGES_FILE = "training_images.json"  # attached to the job: ids of the images, by what they were for
REPORT, REPORT_KEY = "training_report.html", "training report"
FIGURES = {
    "average": "Named, mean of the three",
    "named_ap10": "Named, overlap 0.1",
    "named_ap30": "Named, overlap 0.3",
    "named_ap50": "Named, overlap 0.5",
    "any_ap10": "Any, overlap 0.1",
    "any_ap30": "Any, overlap 0.3",
    "any_ap50": "Any, overlap 0.5",
}
TITLES = {
    "precision_recall.png": "How many are found, and how many boxes are right",
    "confusion.png": "What was taken for what, at the model's threshold",
    "wrong.png": "Surest mistakes: nothing there, or another instrument",
    "missed.png": "Instruments that were not found",
}


@dataclass(frozen=True)
class Learnt:
    """How a training ended.

    Attributes:
        verdict: whether the new model is better and was promoted, for the job's page.
        sources: what it learnt from, for the same.
        model: the one to go on with: the new one if it was promoted, else the one that it would have replaced.
    """

    verdict: str
    sources: str
    model: Model


def learn(
    connection: Connection, job: jobs.RunningJob, parameters: JobParameters, outcome: Outcome, folder: Path
) -> Learnt:
    """Train a model on what people said, attach it to the job, and promote it if it is better than the one in use.

    Args:
        connection: with the job's keys.
        job: that the model is attached to.
        parameters: what was asked for.
        outcome: its seconds are counted.
        folder: for temporary files.

    Raises:
        AnnotatorError: there is nothing to learn from, or the server does not let us.
    """
    project = parameters.cytomine_id_project
    if promotion.promoted_itself(connection, job.id):  # slurm may start a job again after a node was lost
        model = model_in_use.load_job(connection, job.id, project, folder)
        return Learnt("Promoted, before this job was started again.", "", model)
    job.report(0, "Reading what people said.", at_once=True)
    with outcome.timed("read"):
        said = training_set.read(connection, parameters)

    job.report(2, "Loading the model in use.", at_once=True)
    with outcome.timed("model"):
        begun = in_use = model_in_use.load(connection, parameters, folder)
    from annotator.models import bundle
    from training import transfer
    from training.style import stylise

    restyle = stylise.restyler(parameters.style_augment) if parameters.style_augment else None
    wanted = training_set.wanted(said, parameters.cytomine_id_terms, begun.labels)
    for note in wanted.notes:
        log.warning("%s", note)
    if parameters.backbone is not None and wanted.learnt:
        job.report(3, f"Loading the weights of {parameters.backbone}.", at_once=True)
        begun = transfer.start(parameters.backbone, "imagenet", sorted(wanted.learnt, key=lambda label: label.name))

    with outcome.timed("fetch"):
        given = training_set.gather(connection, job, parameters, said, wanted, folder)
    copies: list[Picture] = []
    if restyle:
        job.report(39, f"Restyling {many(len(given.training), 'image')}.", at_once=True)
        with outcome.timed("restyle"):
            copies = _restyled(restyle, given, folder / COPIES)

    job.report(40, f"Learning from {many(len(given.training), 'image')}; {len(given.test)} to judge by.", at_once=True)
    # Before the long work: who may not attach a file would lose the model for which it was done.
    (folder / IMAGES_FILE).write_text(json.dumps(given.number_of), encoding="utf-8")
    job.attach(folder / IMAGES_FILE)
    with outcome.timed("train"):
        model, source = _taught(begun, given, copies, parameters, job.id)

    job.report(75, "Judging the new model against the one in use.", at_once=True)
    with outcome.timed("judge"):
        verdict, comparison, best = _judge(connection, project, model, given.test, folder)
    better = comparison is not None and comparison.better
    verdict = f"{'Promoted' if better else 'Not promoted'}. {verdict}"
    if comparison is not None:
        metrics = {name: figure["value"] for name, figure in comparison.challenger.items()}
        model = replace(model, configuration=replace(model.configuration, metrics=metrics))
    bundle.save(model, folder / promotion.MODEL_FILE)
    job.attach(folder / promotion.MODEL_FILE)
    if better:  # before all else that could fail
        promotion.promote(connection, job.id, job.id)
    report = _report(verdict, comparison, model, given, wanted.notes, folder)
    (folder / REPORT).write_text(report, encoding="utf-8")
    job.upload(REPORT_KEY, folder / REPORT)
    taught = given.said(given.number_of[image_uses.TRAINING])
    counted = ", ".join(f"{count} {name}" for name, count in taught.items())
    # As another job would load it: its version is that of the file.
    model = bundle.load(folder / promotion.MODEL_FILE) if better else best or in_use
    return Learnt(verdict, f"Learnt from {source}: {counted}.", model)


def _taught(
    begun: Model, given: training_set.TrainingSet, copies: Sequence[Picture], parameters: JobParameters, job_id: int
) -> tuple[Model, str]:
    """The new model, which carries where it comes from and examples of what it learnt from, and what that was."""
    from training import feedback

    model = feedback.learn(begun, given.training, copies, given.unlabelled if parameters.adversarial else ())
    source = many(len(given.training), "image")
    if copies:
        source += f", {len(copies)} restyled ({parameters.style_augment})"
    if parameters.adversarial:
        source += f", {len(given.unlabelled)} without labels"
    project, base = parameters.cytomine_id_project, begun.configuration
    lineage = (*base.lineage, f"project {project}, job {job_id}: {source}")
    name = f"{base.backbone}, project {project}"
    model = replace(model, configuration=replace(model.configuration, name=name, lineage=lineage))
    return replace(model, examples=_examples(model, given.training, given.names)), source


def promote(connection: Connection, job: jobs.RunningJob, parameters: JobParameters, folder: Path) -> str:
    """From now on the project uses the model of the training job that was named, or the built-in one.

    Returns:
        What is used now, for the job's page.

    Raises:
        AnnotatorError: the training job cannot be used.
    """
    number = parameters.cytomine_id_job
    model = model_in_use.load_job(connection, number, parameters.cytomine_id_project, folder)
    promotion.promote(connection, job.id, number)
    source = "the built-in model" if number is None else f"the model of training job {number}"
    return f"From now on this project uses {source} ({model.name})."


def _restyled(restyle: Restyle, given: training_set.TrainingSet, folder: Path) -> list[Picture]:
    """A copy of each picture that is learnt from, in the style of another picture of the project, none of a test."""
    from training.style import stylise

    contents = {picture: given.fingerprints[picture.path] for picture in given.training}
    styles = contents | {picture: given.fingerprints[picture.path] for picture in given.unlabelled}
    if len(styles) < 2:
        raise AnnotatorError(
            "There is no second image whose style the only one to learn from could take. Add images, or launch "
            "without style_augment.",
            ExitCode.USAGE,
        )
    held = [given.fingerprints[picture.path] for picture in given.test]
    made = stylise.copies_of(contents, styles, held, restyle, len(contents), 0, folder)
    return [replace(copy.content, path=folder / copy.file, part="training", sources=copy.sources) for copy in made]


def _examples(model: Model, training: Sequence[Picture], name_of_file: Mapping[Path, str]) -> Examples:
    """Regions that were learnt from, those first that people took most care with, to be kept with the model."""
    from annotator.explain import neighbours
    from annotator.pictures import open_rgb

    every = [(picture, region) for picture in training for region in picture.regions if not region.difficult]
    counts: Counter[Label] = Counter()
    chosen: dict[Picture, list[Region]] = {}
    for picture, region in sorted(every, key=lambda pair: -pair[1].weight):
        if counts[region.label] < EXAMPLES and counts.total() < MOST_EXAMPLES:
            counts[region.label] += 1
            chosen.setdefault(picture, []).append(region)

    def regions() -> Iterator[tuple[np.ndarray, np.ndarray, str, str]]:
        for picture, own in chosen.items():
            image = open_rgb(picture.path)
            for region in own:
                yield image, np.array(region.box), region.label.name, name_of_file[picture.path]

    return neighbours.examples_of(model, regions())


def _judge(
    connection: Connection, project: int, model: Model, test: Sequence[Picture], folder: Path
) -> tuple[str, Comparison | None, Model | None]:
    """Compare a new model with the promoted one.

    Returns:
        The verdict in a sentence, the comparison, and the promoted model; both None where nothing can be compared.
    """
    from training import champion

    shown = len({picture.group for picture in test if any(not region.difficult for region in picture.regions)})
    if shown < LEAST_TEST:
        return (
            f"Not judged: {many(shown, 'test artwork')} with instruments, {LEAST_TEST} are the least. End the review "
            "of more images, then launch again.",
            None,
            None,
        )
    while True:
        in_use = promotion.promoted_job(connection, project)
        try:
            promoted = model_in_use.load_promoted(connection, in_use, project, folder)
        except AnnotatorError as error:
            if error.code not in (ExitCode.BAD_MODEL, ExitCode.NOT_FOUND):
                raise
            # The new model has taken minutes: it is kept.
            return f"Not judged: {error}", None, None
        comparison = champion.compare(promoted, model, test)
        # Another training may have ended meanwhile: then its model is the one to beat.
        if promotion.promoted_job(connection, project) == in_use:
            return champion.sentence(comparison, len(test)), comparison, promoted


def _report(
    verdict: str,
    comparison: Comparison | None,
    model: Model,
    given: training_set.TrainingSet,
    notes: Sequence[str],
    folder: Path,
) -> str:
    """The page about the training."""
    from annotator.report.training import Row, write_training_page
    from training import champion

    regions = [region for picture in given.training for region in picture.regions if not region.difficult]
    rows, files = [], []
    if comparison is not None:
        files = champion.illustrate(model, comparison.found, given.test, folder)
        figures = (comparison.champion, comparison.challenger, comparison.difference)
        for name, title in FIGURES.items():
            rows.append(Row(title, *((own[name]["value"], own[name]["low"], own[name]["high"]) for own in figures)))
    return write_training_page(
        verdict,
        model.name,
        model.configuration.lineage,
        Counter(region.label.name for region in regions),
        given.said(given.judgements),
        notes,
        (len(given.training), len(given.test)),
        rows,
        {TITLES[name]: (folder / name).read_bytes() for name in files},
    )
