"""Find the instruments in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from shapely import affinity

from annotator.detection import extent, pyramid, windows
from annotator.detection.crops import crop_logits
from annotator.detection.detections import Detections
from annotator.detection.suppression import suppress
from annotator.models.backbones import BACKBONES, STRIDE
from annotator.models.bundle import Model
from annotator.prefetch import prefetched

SAME_PLACE = 0.1  # two windows of one label that overlap more (intersection over union) show one instrument
OTHER_LABEL_SAME_PLACE = 0.5  # the same for windows of two labels
SAME_INSTRUMENT = 0.3  # and, once their extent is known, for instruments of whatever labels
PART_OF = 0.8  # an instrument of which more than this lies inside a better one of the same label is a part of it
CROP_CONTEXT = 7  # cells of the real picture around a window that is scored as a crop


def level_pictures(model: Model, image: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """The levels of the picture's pyramid, largest first.

    Args:
        model: for the colour that its network takes for nothing.
        image: (h, w, 3) uint8 RGB.

    Yields:
        The level padded to whole cells, (h, w, 3) uint8, and its width and height without the padding.
    """
    height, width = image.shape[:2]
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    for level_width, level_height in reversed(pyramid.level_sizes(width, height)):
        image = pyramid.resize(image, level_width, level_height)  # from the level above: a third of the work
        yield pyramid.pad(image, STRIDE, colour), level_width, level_height


def scan(model: Model, image: np.ndarray) -> list[windows.Level]:
    """One pass of the network over each level of the picture's pyramid.

    Args:
        model: the model.
        image: (h, w, 3) uint8 RGB.

    Returns:
        The levels, largest first, their logits divided by the model's temperature.
    """
    return [
        windows.Level(model.network.predict_on_batch(picture[None])[0] / model.configuration.temperature, width, height)
        for picture, width, height in prefetched(level_pictures(model, image))
    ]


def score_as_crops(
    model: Model, pictures: Sequence[np.ndarray], found: windows.Windows, context: int
) -> windows.Windows:
    """The same windows, each scored by itself as a crop: slow, the oracle of the dense scores.

    Args:
        model: the model.
        pictures: of the levels, as `level_pictures` pads them.
        found: the windows.
        context: cells of the real picture around each crop.
    """
    class_labels = np.array(model.configuration.class_labels)
    probabilities = np.empty_like(found.probabilities)
    for position in np.unique(found.levels):
        here = np.flatnonzero(found.levels == position)
        logits = crop_logits(model.network, pictures[position], found.cells[here], context)
        probabilities[here] = windows.label_probabilities(logits / model.configuration.temperature, class_labels)
    return replace(found, probabilities=probabilities)


def locate(
    levels: list[windows.Level],
    found: windows.Windows,
    class_labels: np.ndarray,
    width: int,
    height: int,
    threshold: float,
) -> Detections:
    """From scored windows to instruments: one detection each, with its outline.

    Args:
        levels: what `scan` gave.
        found: the windows.
        class_labels: (classes,) the label of each class, -1 for "no instrument".
        width: of the picture in pixels.
        height: of the picture in pixels.
        threshold: least score.

    Returns:
        Detections in pixels of the picture, best first.
    """
    labels = found.probabilities.argmax(axis=1)
    scores = found.probabilities.sum(axis=1)
    chosen = np.flatnonzero(scores >= threshold)
    if not len(chosen):
        return Detections.none()
    places = suppress(
        found.boxes[chosen],
        labels[chosen],
        scores[chosen],
        same_label=SAME_PLACE,
        other_label=OTHER_LABEL_SAME_PLACE,
    )
    kept = chosen[places]
    windows_kept = found.boxes[kept]
    maps = extent.activation_maps(levels, class_labels, width, height)
    outlines = [
        affinity.scale(extent.outline(np.tensordot(weights, maps, axes=1), window), width, height, origin=(0, 0))
        for weights, window in zip(extent.scale_weights(levels, windows_kept), windows_kept, strict=True)
    ]
    boxes = np.array([outline.bounds for outline in outlines])
    best = suppress(
        boxes,
        labels[kept],
        scores[kept],
        same_label=SAME_INSTRUMENT,
        other_label=SAME_INSTRUMENT,
        inside=PART_OF,
    )
    everything = Detections(boxes, labels[kept], scores[kept], tuple(outlines))
    return everything[best].with_alternatives(everything, SAME_INSTRUMENT)


def detect(
    model: Model, image: np.ndarray, threshold: float, max_detections: int, *, exact: bool = False
) -> Detections:
    """Find the instruments in one picture.

    Args:
        model: the model.
        image: (h, w, 3) uint8 RGB; what it has beyond `pyramid.SCAN_SIDE` pixels on its longest side is not used.
        threshold: least score of a detection, in [0, 1].
        max_detections: how many to keep at the most, the best ones.
        exact: score the candidates as true crops, some hundred times slower; to check the dense scan by.

    Returns:
        Detections in pixels of ``image``, best first.

    Example:
        >>> detect(builtin.load(), np.asarray(Image.open("lute_player.jpg").convert("RGB")), 0.3, 100)
    """
    height, width = image.shape[:2]
    levels = scan(model, image)
    class_labels = np.array(model.configuration.class_labels)
    found = windows.score_windows(levels, class_labels)
    if exact:
        pictures = [picture for picture, _, _ in level_pictures(model, image)]
        found = score_as_crops(model, pictures, found, CROP_CONTEXT)
    return locate(levels, found, class_labels, width, height, threshold)[:max_detections]
