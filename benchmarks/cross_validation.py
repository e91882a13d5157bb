"""Models that learn from all artworks but some and are judged on these, in turn, so that each artwork judges once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from annotator.detection import Detections
from annotator.models.bundle import Label, Model
from benchmarks import kept
from training import feedback
from training.datasets import Picture
from training.feedback import See


def first_label(picture: Picture) -> str:
    """The first of the names of a picture's instruments, to spread artworks by; "" where there are none."""
    return min((region.label.name for region in picture.regions), default="")


def in_turn(pictures: Sequence[Picture], folds: int) -> Iterator[tuple[list[Picture], list[Picture]]]:
    """Pictures to learn from and pictures to judge by, each picture judging once; instruments are spread evenly."""
    ordered = sorted(pictures, key=lambda one: (first_label(one), one.group))
    for fold in range(folds):
        yield [one for number, one in enumerate(ordered) if number % folds != fold], ordered[fold::folds]


@dataclass(frozen=True)
class Judged:
    """What the models of all folds found.

    Attributes:
        pictures: in the order in which they judged.
        labels: of all models, one model's after the other's.
        found: in each picture; their labels are positions among these.
        thresholds: of each picture's model.
    """

    pictures: list[Picture]
    labels: list[Label]
    found: list[Detections]
    thresholds: list[float]


def learnt_in_turn(begun: Model, pictures: Sequence[Picture], folds: int, see: See) -> Judged:
    """Let a model learn from all folds but one, as a job learns, and look at the artworks of this one.

    Args:
        begun: where each starts, without a box head.
        pictures: artworks all of whose instruments are known.
        folds: how many.
        see: what its backbone sees in them, as `feedback.keep` gives it.
    """
    judged = Judged([], [], [], [])
    for training, own in in_turn(pictures, folds):
        learnt = feedback.learn(begun, training, see=see)
        for seen in see(own):
            one = kept.found(learnt, seen)
            judged.found.append(replace(one, labels=one.labels + len(judged.labels)))
            judged.thresholds.append(learnt.threshold)
        judged.pictures.extend(own)
        judged.labels.extend(learnt.labels)
    return judged
