"""What was found, as values for the page and as a COCO file for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shapely.geometry import Polygon

ALTERNATIVES = 5  # other names that a detection mentions: more than a person reads


def alternatives_text(names: Sequence[str], alternatives: Mapping[int, float]) -> str:
    """What else a detection may be, best first, with scores: "Viola 0.70, Lute 0.21".

    Args:
        names: of all labels.
        alternatives: from positions of labels to scores, highest first.
    """
    return ", ".join(f"{names[label]} {score:.2f}" for label, score in list(alternatives.items())[:ALTERNATIVES])


@dataclass(frozen=True)
class Neighbour:
    """A labelled example that the model learnt from and that a detection looks like.

    Attributes:
        instrument: what people say that it is.
        source: the picture that it is from; hostile text for all we know.
        likeness: cosine of the features of both, at most 1.
        picture: a small JPEG of it.
    """

    instrument: str
    source: str
    likeness: float
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class Finding:
    """One instrument in one picture.

    Attributes:
        instrument: its name.
        mimo_id: its number in the MIMO thesaurus, None where it has none.
        score: in [0, 1].
        polygon: its outline in pixels of the picture, origin top-left.
        also: what else it may be, with scores, as text; empty when nothing else was seen there.
        evidence: a JPEG of what speaks for it; empty when there is none.
        nearest: labelled examples that it looks like, most alike first; empty where the model keeps none.
    """

    instrument: str
    mimo_id: int | None
    score: float
    polygon: Polygon
    also: str = ""
    evidence: bytes = field(default=b"", repr=False)
    nearest: Sequence[Neighbour] = ()


@dataclass(frozen=True)
class Picture:
    """One picture and what was found in it.

    Attributes:
        file_name: of the picture; hostile text for all we know.
        width: in pixels.
        height: in pixels.
        findings: best first.
        thumbnail: a small JPEG of it.
        error: why it could not be looked at, None if it could.
    """

    file_name: str
    width: int
    height: int
    findings: Sequence[Finding] = ()
    thumbnail: bytes = field(default=b"", repr=False)
    error: str | None = None

    @property
    def best(self) -> float:
        """The score of its best finding, 0 without any."""
        return max((finding.score for finding in self.findings), default=0.0)

    @property
    def weight(self) -> int:
        """Bytes of the small pictures of it and of its findings."""
        examples = sum(len(one.picture) for finding in self.findings for one in finding.nearest)
        return len(self.thumbnail) + examples + sum(len(finding.evidence) for finding in self.findings)


def as_coco(
    pictures: Sequence[Picture], labels: Sequence[tuple[str, int | None]], info: Mapping[str, Any]
) -> dict[str, Any]:
    """The COCO object of a collection.

    Args:
        pictures: all of them, also those without findings.
        labels: (name, MIMO id) of everything the model can name; names found beyond them are added.
        info: goes in as it is: model, default_threshold, threshold, seconds.

    Returns:
        ``images``, ``categories``, ``info`` and ``annotations`` (bbox [x, y, width, height], pixels, origin top-left).
        An image that could not be looked at has an ``error``, so that nobody takes it for one without instruments.
    """
    known = dict(labels) | {finding.instrument: finding.mimo_id for picture in pictures for finding in picture.findings}
    category_of = {name: number for number, name in enumerate(sorted(known), start=1)}
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, start=1):
        for finding in picture.findings:
            x0, y0, x1, y1 = (round(side, 2) for side in finding.polygon.bounds)
            corners = [round(number, 2) for point in finding.polygon.exterior.coords[:-1] for number in point]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_of[finding.instrument],
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "segmentation": [corners],
                    "area": round(finding.polygon.area, 2),
                    "iscrowd": 0,
                    "score": finding.score,
                    "also": finding.also,
                }
            )
    return {
        "info": dict(info),
        "images": [
            {"id": number, "file_name": picture.file_name, "width": picture.width, "height": picture.height}
            | ({"error": picture.error} if picture.error else {})
            for number, picture in enumerate(pictures, start=1)
        ],
        "categories": [
            {"id": number, "name": name, "mimo_id": "" if known[name] is None else str(known[name])}
            for name, number in category_of.items()
        ],
        "annotations": annotations,
    }
