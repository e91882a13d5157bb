"""What people said about a project's images, as pictures that training takes: to learn from, and to judge by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import many
from annotator.parameters import JobParameters
from annotator.pipeline import overlapped
from annotator.platform import image_uses, jobs, terms
from annotator.platform.connection import Connection
from annotator.platform.images import FETCHERS, ProjectImage, choose_images, fetch_or_why_not
from annotator.platform.judgements import Choice, Judgement, Verdict, fetch_judgements
from annotator.vocabulary import by_mimo_id, matching
from annotator.vocabulary.instruments import ancestors

if TYPE_CHECKING:
    from annotator.models.bundle import Label
    from training.datasets import Picture
    from training.splits import Fingerprint

log = logging.getLogger(__name__)

# Who validates looks closer than who draws in passing, and who corrects looks closest: that corrections weigh more is a
# wish of Cytomine's users (its issue CYTO-486).
WEIGHTS = {Verdict.DRAWN: 1.0, Verdict.ACCEPTED: 2.0, Verdict.CORRECTED: 4.0, Verdict.PASSED_OVER: 0.0}
LEAST_REGIONS = 3  # of a label that the model does not know, from which it is learnt
MOST_UNLABELLED = 200  # images that nobody looked through, to take styles from or to learn from without labels
LEAST_UNLABELLED = 16  # of them for adversarial training: its half of a batch
QUALITY = 95  # of the JPEG files in which images wait to be learnt from


@dataclass(frozen=True)
class Said:
    """What people said in a project.

    Attributes:
        images: that it may be said of.
        names: of the ontology's terms, by id.
        judgements: what was said.
        left_out: how many annotations say nothing, by reason.
    """

    images: Sequence[ProjectImage]
    names: Mapping[int, str]
    judgements: Sequence[Judgement]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class Wanted:
    """What is to be learnt.

    Attributes:
        labels: what the terms that are to be learnt mean, by id.
        instruments: ids of all terms that mean something to the model or to us, whether to be learnt or not.
        learnt: the labels of which there is enough.
        notes: a line for people about each thing that is left out.
    """

    labels: Mapping[int, Label]
    instruments: set[int]
    learnt: set[Label]
    notes: list[str]


@dataclass(frozen=True)
class TrainingSet:
    """The pictures of a training, in files.

    Attributes:
        training: that are learnt from; at least one shows an instrument that is.
        test: that judge, and are never learnt from.
        unlabelled: that nobody looked through, and that may be learnt from without labels.
        number_of: ids of the images in ``training`` and ``test``, by what they are for.
        judgements: what was said of each image, by its id.
        fingerprints: of all pictures, by file.
        names: of the images, by file.
    """

    training: list[Picture]
    test: list[Picture]
    unlabelled: list[Picture]
    number_of: dict[str, list[int]]
    judgements: Mapping[int, Sequence[Judgement]]
    fingerprints: Mapping[Path, Fingerprint]
    names: Mapping[Path, str]

    def said(self, numbers: Iterable[int]) -> Counter[str]:
        """How often each verdict was given on these images."""
        return Counter(one.verdict.value for number in numbers for one in self.judgements.get(number, ()))


def read(connection: Connection, parameters: JobParameters) -> Said:
    """What people said of the images that were chosen.

    Raises:
        AnnotatorError: images or terms that were chosen are not of the project.
    """
    project = parameters.cytomine_id_project
    images = choose_images(connection, project, parameters.cytomine_id_images)
    names = terms.term_names(connection, project)
    terms.check_term(names, parameters.cytomine_id_terms)
    choice = Choice(parameters.cytomine_id_terms, parameters.cytomine_id_users, parameters.cytomine_reviewed)
    return Said(images, names, *fetch_judgements(connection, project, images, names, choice))


def wanted(said: Said, chosen: Sequence[int], known: Sequence[Label]) -> Wanted:
    """What there is to learn.

    Args:
        said: what people said.
        chosen: ids of the terms to learn, empty for all that are instruments or known.
        known: labels of the model that learns.
    """
    from training.datasets import label_named

    instruments = _instruments(said.names, known)
    labels = {term: label_named(said.names[term]) for term in chosen} or instruments
    learnt, too_few = _learnt_labels(said.judgements, labels, known)
    notes = [f"Left out: {many(count, 'annotation')} {reason}." for reason, count in said.left_out.items()]
    return Wanted(labels, {*labels, *instruments}, learnt, notes + too_few)


def gather(
    connection: Connection, job: jobs.RunningJob, parameters: JobParameters, said: Said, wanted: Wanted, folder: Path
) -> TrainingSet:
    """Fetch the images that there is something to learn from, and part them; what each is for is kept on the server.

    Args:
        connection: with the job's keys.
        job: that reports.
        parameters: what was asked for.
        said: what people said.
        wanted: what of it is learnt.
        folder: for the pictures.

    Raises:
        AnnotatorError: there is nothing to learn from, or too little for adversarial training.
    """
    from training import splits

    by_image = _by_image(said.judgements, wanted.instruments)
    useful = _telling(said.images, by_image)[: parameters.max_training_images]
    others: list[ProjectImage] = []
    if parameters.style_augment or parameters.adversarial:
        unseen = [image for image in said.images if not (image.looked_through or image.id in by_image)]
        others = [image for image in unseen if image_uses.may_teach(image.id)][:MOST_UNLABELLED]
    pictures = _pictures(connection, job, [*useful, *others], by_image, wanted.labels, wanted.learnt, folder)
    fingerprints = {picture.path: splits.fingerprint(picture) for picture in pictures.values()}
    names = {pictures[image.id].path: image.name for image in useful if image.id in pictures}
    unlabelled = {image: pictures.pop(image.id) for image in others if image.id in pictures}
    pictures = _of_artworks(pictures, fingerprints)
    uses = _uses(connection, useful, pictures)
    number_of = {use: sorted(number for number, own in uses.items() if own == use) for use in image_uses.USES}
    training, test = ([pictures[number] for number in number_of[use]] for use in (image_uses.TRAINING, image_uses.TEST))
    if not any(region for picture in training for region in picture.regions if not region.difficult):
        notes = [*wanted.notes, *_not_to_learn(said.judgements, said.names, wanted.labels)]
        raise AnnotatorError(
            f"None of the {many(len(training), 'image')} to learn from shows an instrument that somebody drew or "
            f"validated. {''.join(f'{note} ' for note in notes)}"
            "Validate detections or draw instruments, give them terms, then launch again.",
            ExitCode.NOT_FOUND,
        )
    least = LEAST_UNLABELLED if parameters.adversarial else 0
    free = _unlabelled(connection, unlabelled, test, fingerprints, least)
    return TrainingSet(training, test, free, number_of, by_image, fingerprints, names)


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


def _worth(judgements: Sequence[Judgement]) -> float:
    """How much there is to learn from an image, to choose by where there are too many."""
    return sum(WEIGHTS.get(judgement.verdict, 0.5) for judgement in judgements)


def _not_to_learn(judgements: Sequence[Judgement], names: Mapping[int, str], labels: Mapping[int, Label]) -> list[str]:
    """A line for people about the terms of what they drew or validated that are not to be learnt, if there are any."""
    said = [term for one in judgements if one.verdict is not Verdict.REJECTED for term in one.terms]
    others = list(dict.fromkeys(names[term] for term in said if term not in labels))
    return [f"Not learnt, unless they are chosen as terms: {', '.join(others[:10])}."] if others else []


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


def _of_artworks(pictures: Mapping[int, Picture], fingerprints: Mapping[Path, Fingerprint]) -> dict[int, Picture]:
    """The same pictures, by id; those of one artwork, near-duplicates, in one group, named after the first of them."""
    from training import splits

    numbers = sorted(pictures)
    pairs = splits.near_duplicates([fingerprints[pictures[number].path] for number in numbers])
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
    connection: Connection,
    pictures: Mapping[ProjectImage, Picture],
    test: Sequence[Picture],
    fingerprints: Mapping[Path, Fingerprint],
    least: int,
) -> list[Picture]:
    """Of images that nobody has looked through those that may be learnt from: the test holds nothing that looks alike.

    That they were learnt from is written down on the server, so that no later test takes them.

    Raises:
        AnnotatorError: (USAGE) there are fewer than ``least``, which adversarial training needs.
    """
    from training import splits

    pairs = splits.near_duplicates([fingerprints[picture.path] for picture in (*pictures.values(), *test)])
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
