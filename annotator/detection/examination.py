"""One look at a picture: what is in it, how many mistakes are to be expected, and what the picture is like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotator.detection import windows
from annotator.detection.blocks import Finer
from annotator.detection.detections import Detections
from annotator.detection.detector import OTHER_LABEL_SAME_PLACE, SAME_PLACE, detect, scan
from annotator.detection.suppression import suppress
from annotator.models.backbones import STRIDE
from annotator.models.bundle import Model

NOTICEABLE = 0.02  # probability of any instrument, below which nobody would expect one at a place


@dataclass(frozen=True)
class Examination:
    """What a model says about one picture.

    Attributes:
        detections: in pixels of the picture.
        doubt: how many places it is expected to be wrong about, see `doubt`.
        appearance: (classes,) float32, like that of pictures that look alike to the network, see `appearance`.
    """

    detections: Detections
    doubt: float
    appearance: np.ndarray


def examine(
    model: Model,
    image: np.ndarray,
    threshold: float | np.ndarray,
    max_detections: int,
    *,
    finer: Finer | None = None,
) -> Examination:
    """Look at one picture; for the arguments see `annotator.detection.detect`."""
    levels = scan(model, image)
    scored = windows.score_windows(levels, np.array(model.configuration.class_labels))
    detections = detect(model, image, threshold, max_detections, levels=levels, scored=scored, finer=finer)
    return Examination(detections, doubt(scored), appearance(levels))


def doubt(found: windows.Windows) -> float:
    """The number of mistakes to be expected where a picture may show an instrument.

    The places are the windows left after suppression. At each the answer is the likeliest of all instruments and of
    "nothing", which is wrong with 1 less its probability (least confidence, Lewis & Gale 1994), summed over places as
    Brust et al. 2019 do for detectors: so a picture of which much is to be learnt counts more than one of which little.

    Args:
        found: scored windows of the picture.
    """
    likely = np.flatnonzero(found.probabilities.sum(axis=1) >= NOTICEABLE)
    probabilities = found.probabilities[likely]
    scores = probabilities.sum(axis=1)
    places = suppress(
        found.boxes[likely],
        probabilities.argmax(axis=1),
        scores,
        same_label=SAME_PLACE,
        other_label=OTHER_LABEL_SAME_PLACE,
    )
    return float((1 - np.maximum(probabilities[places].max(axis=1, initial=0), 1 - scores[places])).sum())


def appearance(levels: Sequence[windows.Level]) -> np.ndarray:
    """The mean logits of the smallest level, (classes,) float32, without the cells that are mostly padding."""
    level = levels[-1]
    rows, columns = (max(1, round(side / STRIDE)) for side in (level.height, level.width))
    mean: np.ndarray = level.logits[:rows, :columns].mean(axis=(0, 1), dtype=np.float32)
    return mean
