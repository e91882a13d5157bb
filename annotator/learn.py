"""Learn from what people said in a project: train on it, judge the new model against the one in use, keep the best."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from annotator import model_in_use
from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import Outcome, many
from annotator.parameters import JobParameters
from annotator.pipeline import overlapped
from annotator.platform import image_uses, jobs, promotion, terms
from annotator.platform.connection import Connection
from annotator.platform.images import FETCHERS, ProjectImage, choose_images, fetch_or_why_not
from annotator.platform.judgements import Choice, Judgement, Verdict, fetch_judgements
from annotator.vocabulary import by_mimo_id, matching
from annotator.vocabulary.instruments import ancestors

if TYPE_CHECKING:
    from annotator.models.bundle import Label, Model
    from annotator.models.examples import Examples
    from training.champion import Comparison
    from training.datasets import Picture, Region
    from training.style.stylise import Restyle

log = logging.getLogger(__name__)

# Who validates looks closer than who draws in passing, and who corrects looks closest: that corrections weigh more is a
# wish of Cytomine's users (its issue CYTO-486).
WEIGHTS = {Verdict.DRAWN: 1.0, Verdict.ACCEPTED: 2.0, Verdict.CORRECTED: 4.0, Verdict.PASSED_OVER: 0.0}
LEAST_REGIONS = 3  # of a label that the model does not know, from which it is learnt
LEAST_TEST = 4  # artworks with instruments that a test takes to say anything
MOST_UNLABELLED = 200  # images that nobody looked through, to take styles from or to learn from without labels
LEAST_UNLABELLED = 16  # of them for adversarial training: its half of a batch
EXAMPLES, MOST_EXAMPLES = 20, 600  # of a label, and of all, that are kept with the model
COPIES = "copies"  # folder of restyled copies
QUALITY = 95  # of the JPEG files in which images wait to be learnt from
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
        images = choose_images(connection, project, parameters.cytomine_id_images)
        names = terms.term_names(connection, project)
        terms.check_term(names, parameters.cytomine_id_terms)
        choice = Choice(parameters.cytomine_id_terms, parameters.cytomine_id_users, parameters.cytomine_reviewed)
        judgements, left_out = fetch_judgements(connection, project, images, names, choice)
    notes = [f"Left out: {many(count, 'annotation')} {reason}." for reason, count in left_out.items()]

    job.report(2, "Loading the model in use.", at_once=True)
    with outcome.timed("model"):
        begun = in_use = model_in_use.load(connection, parameters, folder)
    from annotator.models import bundle
    from training import feedback, transfer
    from training.datasets import label_named
    from training.style import stylise

    restyle = stylise.restyler(parameters.style_augment) if parameters.style_augment else None
    instruments = _instruments(names, begun.labels)
    labels = {term: label_named(names[term]) for term in parameters.cytomine_id_terms} or instruments
    learnt, too_few = _learnt_labels(judgements, labels, begun.labels)
    notes += too_few
    for note in notes:
        log.warning("%s", note)
    if parameters.backbone is not None and learnt:
        job.report(3, f"Loading the weights of {parameters.backbone}.", at_once=True)
        begun = transfer.start(parameters.backbone, "imagenet", sorted(learnt, key=lambda label: label.name))

    by_image = _by_image(judgements, {*labels, *instruments})
    useful = _telling(images, by_image)[: parameters.max_training_images]
    others: list[ProjectImage] = []
    if restyle or parameters.adversarial:
        unseen = [image for image in images if not (image.looked_through or image.id in by_image)]
        others = [image for image in unseen if image_uses.may_teach(image.id)][:MOST_UNLABELLED]
    with outcome.timed("fetch"):
        pictures = _pictures(connection, job, [*useful, *others], by_image, labels, learnt, folder)
    unlabelled = {image: pictures.pop(image.id) for image in others if image.id in pictures}
    pictures = _of_artworks(pictures)
    uses = _uses(connection, useful, pictures)
    number_of = {use: sorted(number for number, own in uses.items() if own == use) for use in image_uses.USES}
    training, test = ([pictures[number] for number in number_of[use]] for use in (image_uses.TRAINING, image_uses.TEST))
    if not any(region for picture in training for region in picture.regions if not region.difficult):
        raise AnnotatorError(
            f"None of the {many(len(training), 'image')} to learn from shows an instrument that somebody drew or "
            f"validated. {''.join(f'{note} ' for note in [*notes, *_not_to_learn(judgements, names, labels)])}"
            "Validate detections or draw instruments, give them terms, then launch again.",
            ExitCode.NOT_FOUND,
        )
    target = _unlabelled(connection, unlabelled, test, LEAST_UNLABELLED if parameters.adversarial else 0)
    copies: list[Picture] = []
    if restyle:
        job.report(39, f"Restyling {many(len(training), 'image')}.", at_once=True)
        with outcome.timed("restyle"):
            copies = _restyled(restyle, training, target, test, folder / COPIES)

    job.report(40, f"Learning from {many(len(training), 'image')}; {len(test)} to judge by.", at_once=True)
    # Before the long work: who may not attach a file would lose the model for which it was done.
    (folder / IMAGES_FILE).write_text(json.dumps(number_of), encoding="utf-8")
    job.attach(folder / IMAGES_FILE)
    with outcome.timed("train"):
        model = feedback.learn(begun, training, copies, target if parameters.adversarial else ())
        source = many(len(training), "image")
        if copies:
            source += f", {len(copies)} restyled ({parameters.style_augment})"
        if parameters.adversarial:
            source += f", {len(target)} without labels"
        lineage = (*begun.configuration.lineage, f"project {project}, job {job.id}: {source}")
        name = f"{begun.configuration.backbone}, project {project}"
        model = replace(model, configuration=replace(model.configuration, name=name, lineage=lineage))
        name_of_file = {pictures[image.id].path: image.name for image in useful if image.id in pictures}
        model = replace(model, examples=_examples(model, training, name_of_file))

    job.report(75, "Judging the new model against the one in use.", at_once=True)
    said = Counter(judgement.verdict.value for own in by_image.values() for judgement in own)
    with outcome.timed("judge"):
        verdict, comparison, best = _judge(connection, project, model, test, folder)
    better = comparison is not None and comparison.better
    verdict = f"{'Promoted' if better else 'Not promoted'}. {verdict}"
    if comparison is not None:
        metrics = {name: figure["value"] for name, figure in comparison.challenger.items()}
        model = replace(model, configuration=replace(model.configuration, metrics=metrics))
    bundle.save(model, folder / promotion.MODEL_FILE)
    job.attach(folder / promotion.MODEL_FILE)
    if better:  # before all else that could fail
        promotion.promote(connection, job.id, job.id)
    (folder / REPORT).write_text(
        _report(verdict, comparison, model, training, test, said, notes, folder), encoding="utf-8"
    )
    job.upload(REPORT_KEY, folder / REPORT)
    taught = Counter(
        judgement.verdict.value for number in number_of[image_uses.TRAINING] for judgement in by_image.get(number, ())
    )
    counted = ", ".join(f"{count} {name}" for name, count in taught.items())
    # As another job would load it: its version is that of the file.
    model = bundle.load(folder / promotion.MODEL_FILE) if better else best or in_use
    return Learnt(verdict, f"Learnt from {source}: {counted}.", model)


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


def _instruments(names: Mapping[int, str], known: Sequence[Label]) -> dict[int, Label]:
    """What each term means, by its id, of those that are instruments or that the model knows."""
    from training.datasets import label_named

    labels = {term: label_named(name) for term, name in names.items() if name.strip()}
    labels = {term: label for term, label in labels.items() if matching(names[term]) or label in known}
    others = [name for term, name in names.items() if term not in labels]
    if others:
        log.info("No instruments as far as we know: %s. To learn them, choose them as terms.", ", ".join(others[:10]))
    return labels


def _learnt_labels(
    judgements: Sequence[Judgement], labels: Mapping[int, Label], known: Sequence[Label]
) -> tuple[set[Label], list[str]]:
    """The labels that there is enough of to learn from, and a line for people about each of the others."""
    counts = Counter(
        label
        for judgement in judgements
        if judgement.verdict not in (Verdict.REJECTED, Verdict.PASSED_OVER)
        for label in _meant(judgement, labels)
    )
    few = {label: count for label, count in counts.items() if count < LEAST_REGIONS and label not in known}
    notes = [
        f"{label.name} is new to the model and has {many(count, 'annotation')}, {LEAST_REGIONS} are the least: "
        "not learnt yet."
        for label, count in few.items()
    ]
    return set(counts) - set(few), notes


def _meant(judgement: Judgement, labels: Mapping[int, Label]) -> set[Label]:
    """What the terms of a shape mean: of Stringed instruments and Violin, as a hierarchy has them, Violin alone."""
    meant = {labels[term] for term in judgement.terms if term in labels}
    known = [by_mimo_id()[label.mimo_id] for label in meant if label.mimo_id in by_mimo_id()]
    wider = {heading.mimo_id for instrument in known for heading in ancestors(instrument)}
    return {label for label in meant if label.mimo_id not in wider} or meant


def _by_image(judgements: Sequence[Judgement], instruments: set[int]) -> dict[int, list[Judgement]]:
    """What was said of instruments, by image. What has other terms, such as people and dogs, is background."""
    found: dict[int, list[Judgement]] = {}
    for judgement in judgements:
        if judgement.verdict is Verdict.REJECTED or not judgement.terms or instruments.intersection(judgement.terms):
            found.setdefault(judgement.image, []).append(judgement)
    return found


def _telling(images: Sequence[ProjectImage], by_image: Mapping[int, Sequence[Judgement]]) -> list[ProjectImage]:
    """The images that there is something to learn from, those first that teach most."""
    teaching = {
        number for number, own in by_image.items() if any(one.verdict is not Verdict.PASSED_OVER for one in own)
    }
    telling = [image for image in images if image.id in teaching or image.looked_through]
    return sorted(telling, key=lambda image: -_worth(by_image.get(image.id, ())))


def _not_to_learn(judgements: Sequence[Judgement], names: Mapping[int, str], labels: Mapping[int, Label]) -> list[str]:
    """A line for people about the terms of what they drew or validated that are not to be learnt, if there are any."""
    said = [term for one in judgements if one.verdict is not Verdict.REJECTED for term in one.terms]
    others = list(dict.fromkeys(names[term] for term in said if term not in labels))
    return [f"Not learnt, unless they are chosen as terms: {', '.join(others[:10])}."] if others else []


def _worth(judgements: Sequence[Judgement]) -> float:
    """How much there is to learn from an image, to choose by where there are too many."""
    return sum(WEIGHTS.get(judgement.verdict, 0.5) for judgement in judgements)


def _pictures(
    connection: Connection,
    job: jobs.RunningJob,
    images: Sequence[ProjectImage],
    by_image: Mapping[int, Sequence[Judgement]],
    labels: Mapping[int, Label],
    learnt: set[Label],
    folder: Path,
) -> dict[int, Picture]:
    """The images as training takes them, kept in files of the size that is scanned; by id, without the unreadable."""
    from annotator.detection import SCAN_SIDE

    def fetch(image: ProjectImage) -> tuple[ProjectImage, np.ndarray | AnnotatorError]:
        return image, fetch_or_why_not(connection, image, SCAN_SIDE)

    def keep(fetched: tuple[ProjectImage, np.ndarray | AnnotatorError]) -> tuple[int, Picture | None]:
        image, pixels = fetched
        if isinstance(pixels, AnnotatorError):
            log.warning("%s", pixels)
            return image.id, None
        path = folder / f"{image.id}.jpg"
        Image.fromarray(pixels).save(path, quality=QUALITY, subsampling=0)
        return image.id, as_picture(path, image, pixels.shape[1], by_image.get(image.id, ()), labels, learnt)

    pictures = {}
    with overlapped(images, (fetch, FETCHERS), (keep, 1)) as kept:
        for done, (number, picture) in enumerate(kept, start=1):
            job.report(3 + 36 * done / len(images), f"{done} of {many(len(images), 'image')} fetched.")
            if picture is not None:
                pictures[number] = picture
    return pictures


def as_picture(
    path: Path,
    image: ProjectImage,
    width: int,
    judgements: Sequence[Judgement],
    labels: Mapping[int, Label],
    learnt: set[Label],
) -> Picture:
    """What people said about an image, as training takes it.

    Args:
        path: of the file that holds its pixels.
        image: which.
        width: of the file in pixels; what was said is scaled to it.
        judgements: of this image.
        labels: what terms mean, by id. A shape that is passed over, or whose terms have several meanings or none that
            is learnt, is difficult.
        learnt: labels that are learnt.
    """
    from annotator.models.bundle import Label
    from training.datasets import Picture, Region

    scale = width / image.width
    regions, rejected = [], []
    for judgement in judgements:
        x0, y0, x1, y1 = (scale * side for side in judgement.polygon.bounds)
        if judgement.verdict is Verdict.REJECTED:
            rejected.append((x0, y0, x1, y1))
            continue
        meant = _meant(judgement, labels)
        clear = judgement.verdict is not Verdict.PASSED_OVER and len(meant) == 1 and meant <= learnt
        label = meant.pop() if clear else Label("something")
        regions.append(Region(label, (x0, y0, x1, y1), not clear, WEIGHTS[judgement.verdict]))
    return Picture(path, str(image.id), tuple(regions), complete=image.looked_through, rejected=tuple(rejected))


def _of_artworks(pictures: Mapping[int, Picture]) -> dict[int, Picture]:
    """The same pictures, by id; those of one artwork, near-duplicates, in one group, named after the first of them."""
    from training import splits

    numbers = sorted(pictures)
    fingerprints = [splits.fingerprint(pictures[number]) for number in numbers]
    pairs = splits.near_duplicates(fingerprints)
    joined = splits.joined_groups([str(number) for number in numbers], pairs).tolist() if numbers else []
    first: dict[int, int] = {}
    return {
        number: replace(pictures[number], group=str(first.setdefault(artwork, number)))
        for number, artwork in zip(numbers, joined, strict=True)
    }


def _uses(connection: Connection, images: Sequence[ProjectImage], pictures: Mapping[int, Picture]) -> dict[int, str]:
    """What each image is for, decided for the new ones and written down on the server."""
    numbers = sorted(pictures)
    groups: dict[int, Hashable] = {number: pictures[number].group for number in numbers}
    kinds: dict[int, Hashable] = {
        number: any(not region.difficult for region in pictures[number].regions) for number in numbers
    }
    complete = [number for number in numbers if pictures[number].complete]
    image_of = {image.id: image for image in images if image.id in pictures}
    before = image_uses.recorded(connection, image_of.values())
    uses = image_uses.decide(groups, kinds, complete, before)
    return {
        number: before.get(number) or image_uses.record(connection, image_of[number], use)
        for number, use in uses.items()
    }


def _unlabelled(
    connection: Connection, pictures: Mapping[ProjectImage, Picture], test: Sequence[Picture], least: int
) -> list[Picture]:
    """Of images that nobody has looked through those that may be learnt from: the test holds nothing that looks alike.

    That they were learnt from is written down on the server, so that no later test takes them.

    Raises:
        AnnotatorError: (USAGE) there are fewer than ``least``, which adversarial training needs.
    """
    from training import splits

    fingerprints = [splits.fingerprint(picture) for picture in (*pictures.values(), *test)]
    pairs = splits.near_duplicates(fingerprints)
    judged = set(pairs[pairs[:, 1] >= len(pictures), 0].tolist())
    before = image_uses.recorded(connection, pictures)
    free = [
        image
        for number, image in enumerate(pictures)
        if number not in judged and before.get(image.id) != image_uses.TEST
    ]
    if len(free) < least:
        raise AnnotatorError(
            f"{many(len(free), 'image')} that nobody has looked through can be learnt from, a third of them being kept "
            f"for tests. Adversarial training takes {least} at least: add images, or launch without adversarial.",
            ExitCode.USAGE,
        )
    uses = {image: before.get(image.id) or image_uses.record(connection, image, image_uses.TRAINING) for image in free}
    return [pictures[image] for image, use in uses.items() if use == image_uses.TRAINING]


def _restyled(
    restyle: Restyle, training: Sequence[Picture], others: Sequence[Picture], test: Sequence[Picture], folder: Path
) -> list[Picture]:
    """A copy of each picture that is learnt from, in the style of another picture of the project, none of a test."""
    from training import splits
    from training.style import stylise

    contents = {picture: splits.fingerprint(picture) for picture in training}
    styles = contents | {picture: splits.fingerprint(picture) for picture in others}
    if len(styles) < 2:
        raise AnnotatorError(
            "There is no second image whose style the only one to learn from could take. Add images, or launch "
            "without style_augment.",
            ExitCode.USAGE,
        )
    held = [splits.fingerprint(picture) for picture in test]
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
    training: Sequence[Picture],
    test: Sequence[Picture],
    said: Mapping[str, int],
    notes: Sequence[str],
    folder: Path,
) -> str:
    """The page about the training."""
    from annotator.report.training import Row, write_training_page
    from training import champion

    regions = [region for picture in training for region in picture.regions if not region.difficult]
    rows, files = [], []
    if comparison is not None:
        files = champion.illustrate(model, comparison.found, test, folder)
        figures = (comparison.champion, comparison.challenger, comparison.difference)
        for name, title in FIGURES.items():
            rows.append(Row(title, *((own[name]["value"], own[name]["low"], own[name]["high"]) for own in figures)))
    return write_training_page(
        verdict,
        model.name,
        model.configuration.lineage,
        Counter(region.label.name for region in regions),
        said,
        notes,
        (len(training), len(test)),
        rows,
        {TITLES[name]: (folder / name).read_bytes() for name in files},
    )
