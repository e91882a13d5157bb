"""The one value that detection hands on: the instruments found in one image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from shapely import affinity
from shapely.geometry import Polygon


@dataclass(frozen=True)
class Detections:
    """Instruments found in one image, as arrays of equal length n. Made once, never mutated.

    Attributes:
        boxes: (n, 4) float64; x0, y0, x1, y1 in pixels of the full-resolution image, origin top-left, half-open.
        labels: (n,) int64; positions in the model's list of labels.
        scores: (n,) float64 in [0, 1]; higher is surer.
        outlines: n polygons in the same frame as the boxes, or empty when only boxes are known.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    outlines: tuple[Polygon, ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4):
            raise ValueError(f"boxes must have shape (n, 4), got {self.boxes.shape}")
        if self.labels.shape != (n,) or self.scores.shape != (n,):
            raise ValueError(f"{n} boxes need {n} labels and scores, got {self.labels.shape} and {self.scores.shape}")
        if self.outlines and len(self.outlines) != n:
            raise ValueError(f"{n} boxes need {n} outlines or none, got {len(self.outlines)}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: np.ndarray | slice) -> Detections:
        """The detections that a boolean mask, an index array or a slice selects, in its order."""
        chosen = np.arange(len(self))[index]
        outlines = tuple(self.outlines[i] for i in chosen) if self.outlines else ()
        return Detections(self.boxes[chosen], self.labels[chosen], self.scores[chosen], outlines)

    def scaled(self, x: float, y: float) -> Detections:
        """The same detections in the frame of a picture that is ``x`` times as wide and ``y`` times as high."""
        outlines = tuple(affinity.scale(outline, x, y, origin=(0, 0)) for outline in self.outlines)
        return Detections(self.boxes * [x, y, x, y], self.labels, self.scores, outlines)

    @classmethod
    def none(cls) -> Detections:
        """No instrument found."""
        return cls(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
