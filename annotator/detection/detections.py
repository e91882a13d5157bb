"""The one value that detection hands on: the instruments found in one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from shapely import affinity
from shapely.geometry import Polygon

from annotator.detection.boxes import intersection_over_union


@dataclass(frozen=True)
class Detections:
    """Instruments found in one image, as arrays of equal length n. Made once, never mutated.

    Attributes:
        boxes: (n, 4) float64; x0, y0, x1, y1 in pixels of the picture that was looked at, or of what `scaled` was
            told; origin top-left, half-open.
        labels: (n,) int64; positions in the model's list of labels.
        scores: (n,) float64 in [0, 1]; higher is surer.
        outlines: n polygons in the same frame as the boxes, or empty when only boxes are known.
        alternatives: n mappings from other labels that the same instrument was given to their best score, highest
            first; or empty when they were not looked for.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    outlines: tuple[Polygon, ...] = field(default=())
    alternatives: tuple[Mapping[int, float], ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4):
            raise ValueError(f"boxes must have shape (n, 4), got {self.boxes.shape}")
        if self.labels.shape != (n,) or self.scores.shape != (n,):
            raise ValueError(f"{n} boxes need {n} labels and scores, got {self.labels.shape} and {self.scores.shape}")
        for name, values in (("outlines", self.outlines), ("alternatives", self.alternatives)):
            if values and len(values) != n:
                raise ValueError(f"{n} boxes need {n} {name} or none, got {len(values)}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: np.ndarray | slice) -> Detections:
        """The detections that a boolean mask, an index array or a slice selects, in its order."""
        chosen = np.arange(len(self))[index]
        outlines = tuple(self.outlines[i] for i in chosen) if self.outlines else ()
        alternatives = tuple(self.alternatives[i] for i in chosen) if self.alternatives else ()
        return Detections(self.boxes[chosen], self.labels[chosen], self.scores[chosen], outlines, alternatives)

    def with_alternatives(self, others: Detections, same_place: float) -> Detections:
        """The same detections, each with the other labels found at its place.

        Args:
            others: detections before suppression, in the same frame.
            same_place: intersection over union above which one of them shows the same instrument.
        """
        overlaps = intersection_over_union(self.boxes[:, None], others.boxes)
        alternatives = []
        for label, overlap in zip(self.labels, overlaps, strict=True):
            there = np.flatnonzero((overlap > same_place) & (others.labels != label))
            there = there[np.argsort(-others.scores[there], kind="stable")]
            best: dict[int, float] = {}
            for i in there:
                best.setdefault(int(others.labels[i]), float(others.scores[i]))
            alternatives.append(best)
        return replace(self, alternatives=tuple(alternatives))

    def scaled(self, x: float, y: float) -> Detections:
        """The same detections in the frame of a picture that is ``x`` times as wide and ``y`` times as high."""
        outlines = tuple(affinity.scale(outline, x, y, origin=(0, 0)) for outline in self.outlines)
        return replace(self, boxes=self.boxes * [x, y, x, y], outlines=outlines)

    @classmethod
    def none(cls) -> Detections:
        """No instrument found."""
        return cls(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
