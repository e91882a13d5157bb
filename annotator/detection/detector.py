"""Find the instruments in one picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import keras
import numpy as np
from scipy.special import expit, logit

from annotator.detection import blocks, extent, pyramid, windows
from annotator.detection.boxes import intersection_over_union
from annotator.detection.crops import crop_logits
from annotator.detection.detections import Detections
from annotator.detection.proposals import proposals
from annotator.detection.suppression import suppress
from annotator.models.backbones import BACKBONES, STRIDE
from annotator.models.bundle import Model
from annotator.models.fused import fused
from annotator.prefetch import prefetched

SAME_PLACE = 0.1  # two windows of one label that overlap more (intersection over union) show one instrument
OTHER_LABEL_SAME_PLACE = 0.5  # the same for windows of two labels
SAME_INSTRUMENT = 0.3  # and, once their extent is known, for instruments of whatever labels
PART_OF = 0.8  # an instrument of which more than this lies inside a better one of the same label is a part of it
WORTH_REFINING = 0.02  # score of a window from which a box head is asked about it
NEARNESS = 3  # power of the overlap by which a box counts for a window
HALF = 0.5  # of the best box's vote: those with less do not vote
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
        said = model.inference_network.predict_on_batch(picture[None])
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
    classifier = fused(keras.Model(model.network.input, model.network.get_layer("head").output))
    for position in np.unique(found.levels):
        here = np.flatnonzero(found.levels == position)
        logits = crop_logits(classifier, pictures[position], found.cells[here], context)
        probabilities[here] = windows.label_probabilities(logits / model.configuration.temperature, class_labels)
    return replace(found, probabilities=probabilities)


def locate(
    activations: Sequence[extent.Activation],
    found: windows.Windows,
    width: int,
    height: int,
    least: float,
) -> Detections:
    """From scored windows to what they show: a detection with its outline for each that no better one suppresses.

    Args:
        activations: of the levels that the windows were found on.
        found: the windows.
        width: of the picture in pixels.
        height: of the picture in pixels.
        least: score.

    Returns:
        Detections in pixels of the picture, best first; several may show one instrument.
    """
    labels = found.probabilities.argmax(axis=1)
    scores = found.probabilities.sum(axis=1)
    chosen = np.flatnonzero(scores >= least)
    places = suppress(
        found.boxes[chosen],
        labels[chosen],
        scores[chosen],
        same_label=SAME_PLACE,
        other_label=OTHER_LABEL_SAME_PLACE,
    )
    kept = chosen[places]
    if not len(kept):
        return Detections.none()
    outlines = extent.outlines(activations, found.boxes[kept], found.levels[kept], width, height)
    boxes = np.array([outline.bounds for outline in outlines])
    return Detections(boxes, labels[kept], scores[kept], tuple(outlines)).scaled(width, height)


def named_inside(found: Detections, activations: Sequence[extent.Activation], width: int, height: int) -> Detections:
    """The same detections, each named by what the inside of its outline speaks for, no longer by its window.

    Args:
        found: with outlines in pixels of the picture.
        activations: of the levels of the picture.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    return replace(found, labels=extent.labels_inside(activations, found.scaled(1 / width, 1 / height).outlines))


def best_of_each(found: Detections) -> np.ndarray:
    """Positions of the detections that are left when each instrument keeps one, best first."""
    return suppress(
        found.boxes,
        found.labels,
        found.scores,
        same_label=SAME_INSTRUMENT,
        other_label=SAME_INSTRUMENT,
        inside=PART_OF,
    )


def refined(found: Detections, boxes: np.ndarray, objectness: np.ndarray) -> tuple[Detections, np.ndarray]:
    """The same detections with the boxes that a box head gives them.

    Each takes the mean of the boxes that overlap it, those counting most that are sure and overlap it most (box voting,
    Gidaris & Komodakis 2015), and its outline is stretched to it. One that no box overlaps stays as it is.

    Args:
        found: n detections, in any frame.
        boxes: (m, 4) that the box head offers, in the same frame; at least one.
        objectness: (m,) their logits.

    Returns:
        The detections and, (n,), the objectness of the box with the best vote.
    """
    overlaps = intersection_over_union(found.boxes[:, None], boxes)
    votes = expit(objectness) * overlaps**NEARNESS
    best = votes.argmax(axis=1)
    votes[votes < HALF * votes.max(axis=1, keepdims=True)] = 0
    total = votes.sum(axis=1)
    voted = np.divide(votes @ boxes, total[:, None], out=found.boxes.copy(), where=total[:, None] > 0)
    outlines = tuple(extent.stretched(outline, box) for outline, box in zip(found.outlines, voted, strict=True))
    surest = np.where(total > 0, objectness[best], objectness.min())
    return replace(found, boxes=voted, outlines=outlines), surest


def witnesses(objectness: np.ndarray, instrument: np.ndarray) -> np.ndarray:
    """What speaks for detections: (n, 2), the objectness of their boxes and the log-odds of an instrument.

    Args:
        objectness: (n,) logits of the box head.
        instrument: (n,) probability that the window shows any instrument.
    """
    return np.stack([objectness, logit(np.clip(instrument, *CERTAIN))], axis=1)


def box_scores(objectness: np.ndarray, instrument: np.ndarray, weights: tuple[float, float, float]) -> np.ndarray:
    """The score of detections, (n,) in [0, 1]: the logistic function of the weighted sum of their `witnesses`.

    Args:
        objectness: (n,) logits of the box head.
        instrument: (n,) probability that the window shows any instrument.
        weights: of both witnesses, and a constant (`Configuration.box_score`).
    """
    return expit(witnesses(objectness, instrument) @ weights[:2] + weights[2])


def with_finer(
    model: Model,
    finer: blocks.Finer,
    found: windows.Windows,
    activations: Sequence[extent.Activation],
    offered: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[windows.Windows, list[extent.Activation], tuple[np.ndarray, np.ndarray] | None]:
    """What the levels up to `pyramid.SCAN_SIDE` said, and what those beyond it say.

    Of these no more is held than the activations, the best windows and boxes, and the part that is looked at.

    Args:
        model: the model.
        finer: the levels beyond.
        found: windows of the levels up to there.
        activations: of these levels.
        offered: what `proposals` gave for them, None if the model has no box head.

    Returns:
        Windows, activations and proposals of all levels.
    """
    class_labels = np.array(model.configuration.class_labels)
    every_found, every_activation = [found], list(activations)
    for width, height, parts in blocks.levels(model, finer):
        size = -(-height // STRIDE), -(-width // STRIDE)
        whole = extent.Activation(
            np.empty(size, np.float32), np.empty((*size, len(model.labels)), np.float16), width, height
        )

        def noted(parts: Iterable[windows.Level], whole: extent.Activation = whole) -> Iterator[windows.Level]:
            nonlocal offered
            for part in parts:
                rows, columns = part.logits.shape[:2]
                place = np.s_[part.top : part.top + rows, part.left : part.left + columns]
                own = extent.activation(part, class_labels)
                whole.values[place], whole.by_label[place] = own.values, own.by_label
                if offered is not None:
                    offered = proposals([part], offered)
                yield part

        own = windows.score_parts(noted(parts), class_labels)
        every_found.append(replace(own, levels=own.levels + len(every_activation)))
        every_activation.append(whole)
    return windows.Windows.joined(every_found), every_activation, offered


def candidates(
    model: Model,
    image: np.ndarray,
    least: float,
    *,
    exact: bool = False,
    levels: list[windows.Level] | None = None,
    scored: windows.Windows | None = None,
    finer: blocks.Finer | None = None,
) -> tuple[Detections, np.ndarray, list[extent.Activation]]:
    """What the windows of a picture show, with refined boxes if the model has a box head; several may show one thing.

    Args:
        model: the model.
        image: (h, w, 3) uint8 RGB.
        least: score of a window.
        exact: as for `detect`.
        levels: as for `detect`.
        scored: as for `detect`.
        finer: as for `detect`.

    Returns:
        Detections in pixels of ``image``, named and scored by their windows alone; (n,) the objectness of their boxes,
        zeros if the model has no box head; and the activations of all levels.
    """
    height, width = image.shape[:2]
    levels = scan(model, image) if levels is None else levels
    class_labels = np.array(model.configuration.class_labels)
    found = windows.score_windows(levels, class_labels) if scored is None else scored
    if exact:
        pictures = [picture for picture, _, _ in level_pictures(model, image)]
        found = score_as_crops(model, pictures, found, CROP_CONTEXT)
    activations = [extent.activation(level, class_labels) for level in levels]
    offered = proposals(levels) if model.has_boxes else None
    if finer is not None:
        found, activations, offered = with_finer(model, finer, found, activations, offered)
    located = locate(activations, found, width, height, least)
    surest = np.zeros(len(located))
    if offered is not None:
        boxes, objectness = offered
        located, surest = refined(located, boxes * [width, height, width, height], objectness)
    return located, surest, activations


def detect(
    model: Model,
    image: np.ndarray,
    threshold: float | np.ndarray,
    max_detections: int,
    *,
    exact: bool = False,
    levels: list[windows.Level] | None = None,
    scored: windows.Windows | None = None,
    finer: blocks.Finer | None = None,
) -> Detections:
    """Find the instruments in one picture.

    Args:
        model: the model.
        image: (h, w, 3) uint8 RGB; what it has beyond `pyramid.SCAN_SIDE` pixels on its longest side is not used.
            The whole picture: where its full resolution is looked at too, that comes from ``finer``.
        threshold: least score of a detection, in [0, 1]; or of each label, (labels,).
        max_detections: how many to keep at the most, the best ones.
        exact: score the candidates as true crops, some hundred times slower; to check the dense scan by. Those of
            ``finer`` are left as they are.
        levels: what `scan` gave for this picture, where the caller has it.
        scored: what `windows.score_windows` gave for these levels, where the caller has it.
        finer: levels of the same picture beyond `pyramid.SCAN_SIDE`, to be looked at too.

    Returns:
        Detections in pixels of ``image``, best first.

    Example:
        >>> detect(builtin.load(), np.asarray(Image.open("lute_player.jpg").convert("RGB")), 0.3, 100)
    """
    thresholds = np.broadcast_to(threshold, len(model.labels))
    slope, constant = model.configuration.odds_score
    if model.has_boxes:
        least = min(float(thresholds.min()), WORTH_REFINING)
    else:  # what the head itself must say for the score to reach the lowest threshold
        least = float(expit((logit(np.clip(thresholds.min(), *CERTAIN)) - constant) / slope))
    found, objectness, activations = candidates(
        model, image, least, exact=exact, levels=levels, scored=scored, finer=finer
    )
    weights = model.configuration.box_score or (0.0, slope, constant)
    found = replace(found, scores=box_scores(objectness, found.scores, weights))
    found = found[found.scores >= thresholds.min()]  # before they are named: a box head leaves many weak ones
    named = named_inside(found, activations, image.shape[1], image.shape[0])
    # What else an instrument was called: by other outlines at its place, which are not drawn, and by windows.
    others = Detections(np.tile(found.boxes, (2, 1)), np.append(named.labels, found.labels), np.tile(found.scores, 2))
    named, others = (each[each.scores >= thresholds[each.labels]] for each in (named, others))
    return named[best_of_each(named)].with_alternatives(others, SAME_INSTRUMENT)[:max_detections]
