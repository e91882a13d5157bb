"""Find the instruments in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import keras
import numpy as np
from scipy.special import expit, logit
from shapely import affinity

from annotator.detection import extent, proposals, pyramid, windows
from annotator.detection.crops import crop_logits
from annotator.detection.detections import Detections
from annotator.detection.suppression import suppress
from annotator.models.backbones import BACKBONES, STRIDE
from annotator.models.bundle import Model
from annotator.prefetch import prefetched

SAME_PLACE = 0.1  # two windows of one label that overlap more (intersection over union) show one instrument
OTHER_LABEL_SAME_PLACE = 0.5  # the same for windows of two labels
SAME_INSTRUMENT = 0.3  # and, once their extent is known, for instruments of whatever labels
SAME_BOX = 0.1  # the same for boxes of a box head, of whatever labels
PART_OF = 0.8  # an instrument of which more than this lies inside a better one of the same label is a part of it
CERTAIN = (1e-6, 1 - 1e-6)  # probabilities beyond these are taken for these
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
    levels = []
    for picture, width, height in prefetched(level_pictures(model, image)):
        said = model.network.predict_on_batch(picture[None])
        logits, boxes = (said[0][0], said[1][0]) if model.has_boxes else (said[0], None)
        levels.append(windows.Level(logits / model.configuration.temperature, width, height, boxes))
    return levels


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
    classifier = keras.Model(model.network.input, model.network.get_layer("head").output)
    for position in np.unique(found.levels):
        here = np.flatnonzero(found.levels == position)
        logits = crop_logits(classifier, pictures[position], found.cells[here], context)
        probabilities[here] = windows.label_probabilities(logits / model.configuration.temperature, class_labels)
    return replace(found, probabilities=probabilities)


def locate(
    levels: list[windows.Level],
    found: windows.Windows,
    class_labels: np.ndarray,
    width: int,
    height: int,
    thresholds: np.ndarray,
) -> Detections:
    """From scored windows to instruments: one detection each, with its outline.

    Args:
        levels: what `scan` gave.
        found: the windows.
        class_labels: (classes,) the label of each class, -1 for "no instrument".
        width: of the picture in pixels.
        height: of the picture in pixels.
        thresholds: (labels,) least score of each.

    Returns:
        Detections in pixels of the picture, best first.
    """
    labels = found.probabilities.argmax(axis=1)
    scores = found.probabilities.sum(axis=1)
    chosen = np.flatnonzero(scores >= thresholds[labels])
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
    maps = extent.activation_maps(levels, class_labels, width, height)
    weights = extent.scale_weights(levels, found.boxes[kept])
    outlines = [
        extent.outline(np.tensordot(own, maps, axes=1), window)
        for own, window in zip(weights, found.boxes[kept], strict=True)
    ]
    boxes = np.array([outline.bounds for outline in outlines])
    everything = Detections(boxes, labels[kept], scores[kept], tuple(outlines)).scaled(width, height)
    best = suppress(
        everything.boxes,
        everything.labels,
        everything.scores,
        same_label=SAME_INSTRUMENT,
        other_label=SAME_INSTRUMENT,
        inside=PART_OF,
    )
    return everything[best].with_alternatives(everything, SAME_INSTRUMENT)


def witnesses(objectness: np.ndarray, instrument: np.ndarray) -> np.ndarray:
    """What speaks for boxes: (n, 2), the objectness and the log-odds of an instrument.

    Args:
        objectness: (n,) logits of the box head.
        instrument: (n,) probability that the box shows any instrument.
    """
    return np.stack([objectness, logit(np.clip(instrument, *CERTAIN))], axis=1)


def box_scores(objectness: np.ndarray, instrument: np.ndarray, weights: tuple[float, float, float]) -> np.ndarray:
    """The score of boxes, (n,) in [0, 1]: the logistic function of the weighted sum of their `witnesses`.

    Args:
        objectness: (n,) logits of the box head.
        instrument: (n,) probability that the box shows any instrument.
        weights: of both witnesses, and a constant (`Configuration.box_score`).
    """
    return expit(witnesses(objectness, instrument) @ weights[:2] + weights[2])


def best_boxes(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Positions of the boxes that are left when each instrument has one, best first; arguments as of `suppress`."""
    return suppress(boxes, labels, scores, same_label=SAME_BOX, other_label=SAME_BOX, inside=PART_OF)


def locate_boxes(
    levels: list[windows.Level],
    found: windows.Windows,
    scores: np.ndarray,
    class_labels: np.ndarray,
    width: int,
    height: int,
    thresholds: np.ndarray,
) -> Detections:
    """From the boxes of a box head to instruments: `locate` for a model that has one.

    The outline is the shape that the class activation has inside the box, stretched to the box: where the instrument
    ends the box head knows better.

    Args:
        levels: what `scan` gave.
        found: the boxes, named.
        scores: (n,) of `box_scores`.
        class_labels: (classes,) the label of each class, -1 for "no instrument".
        width: of the picture in pixels.
        height: of the picture in pixels.
        thresholds: (labels,) least score of each.

    Returns:
        Detections in pixels of the picture, best first.
    """
    labels = found.probabilities.argmax(axis=1)
    chosen = np.flatnonzero(scores >= thresholds[labels])
    if not len(chosen):
        return Detections.none()
    everything = Detections(found.boxes[chosen], labels[chosen], scores[chosen]).scaled(width, height)
    best = best_boxes(everything.boxes, everything.labels, everything.scores)
    kept = everything[best].with_alternatives(everything, OTHER_LABEL_SAME_PLACE)
    shares = found.boxes[chosen[best]]
    maps = extent.activation_maps(levels, class_labels, width, height)
    outlines = [
        affinity.scale(extent.inner_outline(np.tensordot(own, maps, axes=1), box), width, height, origin=(0, 0))
        for own, box in zip(extent.scale_weights(levels, shares), shares, strict=True)
    ]
    return replace(kept, outlines=tuple(outlines))


def detect(
    model: Model, image: np.ndarray, threshold: float | np.ndarray, max_detections: int, *, exact: bool = False
) -> Detections:
    """Find the instruments in one picture.

    Args:
        model: the model.
        image: (h, w, 3) uint8 RGB; what it has beyond `pyramid.SCAN_SIDE` pixels on its longest side is not used.
        threshold: least score of a detection, in [0, 1]; or of each label, (labels,).
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
    thresholds = np.broadcast_to(threshold, len(model.labels))
    objectness = np.zeros(0)
    if model.has_boxes:
        boxes, objectness = proposals.proposals(levels)
        found = proposals.named(levels, boxes, class_labels)
    else:
        found = windows.score_windows(levels, class_labels)
    if exact:
        pictures = [picture for picture, _, _ in level_pictures(model, image)]
        found = score_as_crops(model, pictures, found, CROP_CONTEXT)
    if model.configuration.box_score is None:
        return locate(levels, found, class_labels, width, height, thresholds)[:max_detections]
    scores = box_scores(objectness, found.probabilities.sum(axis=1), model.configuration.box_score)
    return locate_boxes(levels, found, scores, class_labels, width, height, thresholds)[:max_detections]
