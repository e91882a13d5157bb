"""What models say of pictures that their backbone has looked at before, where many heads learn from the same."""

from __future__ import annotations

import numpy as np

from annotator.detection import Detections, detector
from annotator.detection.windows import Level
from annotator.models.bundle import Model
from training import evaluate
from training.feedback import Seen


def said(model: Model, seen: Seen) -> list[Level]:
    """What a model says about the levels of a picture, from what its backbone sees."""
    kernel, bias = (np.asarray(weight) for weight in model.network.get_layer("head").get_weights())
    return seen.said(kernel / model.configuration.temperature, bias / model.configuration.temperature)


def found(model: Model, seen: Seen) -> Detections:
    """As `evaluate.detections_of`, of a model without box head, from what its backbone sees in the picture."""
    no_pixels = np.broadcast_to(np.uint8(0), (seen.height, seen.width, 3))
    return detector.detect(model, no_pixels, evaluate.LOWEST, evaluate.MOST, levels=said(model, seen))
