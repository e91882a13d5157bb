"""The page of the command ``explain``: each picture, and both masks over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annotator.explain.check import Trust
from annotator.report.template import filled


@dataclass(frozen=True)
class Named:
    """One instrument in a picture.

    Attributes:
        instrument: its name.
        score: in [0, 1].
        also: what else it may be, with scores, as text; empty when nothing else was seen there.
    """

    instrument: str
    score: float
    also: str = ""


@dataclass(frozen=True)
class Explained:
    """One picture and what was found in it.

    Attributes:
        file_name: of the picture; hostile text for all we know.
        width: in pixels.
        height: in pixels.
        instrument: what the mask of the class is about.
        score: of the picture's best detection, or what the likeliest window would have been given.
        found: detections, best first; maybe none.
        picture: path of a small version, from the page.
        visual_backprop: path of the same with VisualBackProp's mask over it.
        class_mask: path of the same with the mask of the class over it.
    """

    file_name: str
    width: int
    height: int
    instrument: str
    score: float
    found: Sequence[Named]
    picture: str
    visual_backprop: str
    class_mask: str


def write_explanations_page(
    explained: Sequence[Explained], failures: Mapping[str, str], model: str, trust: Trust | None = None
) -> str:
    """The page as HTML, beside which the small pictures lie.

    Args:
        explained: the pictures that could be read.
        failures: why a file could not be, by its name.
        model: its name and version.
        trust: what `annotator.explain.check.check` measured on some of these pictures.
    """
    return filled(
        __package__,
        "explanations.html.j2",
        explained=explained,
        failures=failures,
        model=model,
        trust=trust,
        rows=[] if trust is None else _rows(trust),
    )


def _rows(trust: Trust) -> list[tuple[str, Mapping[str, tuple[float, float, float]]]]:
    """The table of what was measured, for people."""
    return [
        *((f"likeness to itself after shuffling {stage}", figures) for stage, figures in trust.kept.items()),
        ("score while what the map marks is taken away: less is better", trust.deletion),
        ("score while that is put into a blurred picture: more is better", trust.insertion),
    ]
