"""The page about a training: what was learnt from, how the new model does, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotator.report.template import filled


@dataclass(frozen=True)
class Row:
    """A figure of both models.

    Attributes:
        name: of the figure, for people.
        old: of the model in use, with the ends of its interval.
        new: of the new model.
        difference: new less old.
    """

    name: str
    old: tuple[float, float, float]
    new: tuple[float, float, float]
    difference: tuple[float, float, float]


def write_training_page(
    verdict: str,
    model: str,
    lineage: Sequence[str],
    learnt: Mapping[str, int],
    said: Mapping[str, int],
    notes: Sequence[str],
    images: tuple[int, int],
    rows: Sequence[Row],
    pictures: Mapping[str, bytes],
) -> str:
    """The report as HTML that needs nothing else.

    Args:
        verdict: whether the new model is better, in a sentence.
        model: its name.
        lineage: what it was made from.
        learnt: examples by label.
        said: judgements by what was said.
        notes: what was left out and why, in sentences.
        images: how many were learnt from, and how many kept to judge by.
        rows: figures on the images kept to judge by; none where there are too few.
        pictures: PNG files by their title.
    """
    return filled(
        __package__,
        "training.html.j2",
        verdict=verdict,
        model=model,
        lineage=lineage,
        learnt=sorted(learnt.items(), key=lambda item: (-item[1], item[0])),
        said=said,
        notes=notes,
        images=images,
        rows=rows,
        pictures=pictures,
    )
