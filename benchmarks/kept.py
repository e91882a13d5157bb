"""What a backbone sees in pictures, looked at once and kept, where many heads learn from the same pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from annotator.detection import Detections, detector
from annotator.detection.windows import Level
from annotator.models.bundle import Model
from training import evaluate, feedback
from training.datasets import Picture
from training.feedback import See, Seen


def keep(model: Model, pictures: Sequence[Picture], folder: Path) -> See:
    """Look at pictures and write down what was seen, at 16 bits: some ten megabytes a picture.

    Args:
        model: whose backbone looks.
        pictures: at what.
        folder: where it is written.

    Returns:
        Of some of these pictures what was seen, for `feedback.learn` and `found`.
    """
    file_of = {picture.path: folder / f"seen_{number}.npz" for number, picture in enumerate(pictures)}
    for picture, seen in zip(pictures, feedback.look(model, pictures), strict=True):
        sizes = [*((level.width, level.height) for level in seen.levels), (seen.width, seen.height)]
        np.savez(file_of[picture.path], np.array(sizes), *(level.logits.astype(np.float16) for level in seen.levels))

    def see(pictures: Sequence[Picture]) -> Iterator[Seen]:
        for picture in pictures:
            with np.load(file_of[picture.path], allow_pickle=False) as stored:
                sizes, *maps = (stored[f"arr_{number}"] for number in range(len(stored.files)))
            *of_levels, (width, height) = sizes.tolist()
            levels = [Level(own.astype(np.float32), *size) for own, size in zip(maps, of_levels, strict=True)]
            yield Seen(levels, width, height)

    return see


def said(model: Model, seen: Seen) -> list[Level]:
    """What a model says about the levels of a picture, from what its backbone sees."""
    kernel, bias = (np.asarray(weight) for weight in model.network.get_layer("head").get_weights())
    return seen.said(kernel / model.configuration.temperature, bias / model.configuration.temperature)


def found(model: Model, seen: Seen) -> Detections:
    """As `evaluate.detections_of`, of a model without box head, from what its backbone sees in the picture."""
    no_pixels = np.broadcast_to(np.uint8(0), (seen.height, seen.width, 3))
    return detector.detect(model, no_pixels, evaluate.LOWEST, evaluate.MOST, levels=said(model, seen))
