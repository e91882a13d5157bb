"""Explanations of a whole picture, in which instruments of all sizes may show.

VisualBackProp looks at one size of the picture: on 91 composites 0.27 of that mask lies on the instruments, 0.22 of a
mean over all sizes. Class activation is read from all sizes, each counting as much as it does for the extent
of a detection.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from PIL import Image

from annotator.detection import Detections, detect, extent, windows
from annotator.detection.detector import level_pictures, scan
from annotator.explain.class_activation import sharpened
from annotator.explain.maps import RECTIFIED_MAPS
from annotator.explain.visual_backprop import explainer
from annotator.models.bundle import Model
from annotator.models.fused import fused

SIDE = 896  # pixels on the longest side of the largest level of the pyramid that VisualBackProp looks at
MOST = 100  # detections of one picture


class Explanation(NamedTuple):
    """What speaks for what in a picture of h x w pixels.

    Attributes:
        detections: in pixels of the picture, best first; maybe none.
        label: position of the label that ``class_mask`` is about: the best detection's, else the likeliest window's.
        score: of the best detection; else the probability that the likeliest window shows any instrument.
        visual_backprop: (h, w) float32 in [0, 1].
        class_mask: (h, w) float32 in [0, 1].
    """

    detections: Detections
    label: int
    score: float
    visual_backprop: np.ndarray
    class_mask: np.ndarray


def explainer_of(model: Model) -> keras.Model:
    """VisualBackProp for a model's network."""
    return fused(explainer(model.network, RECTIFIED_MAPS[model.configuration.backbone]))


def explain(model: Model, explaining: keras.Model, image: np.ndarray) -> Explanation:
    """Detect, then tell where the network looks and what there speaks for the best detection's label.

    Args:
        model: the model.
        explaining: from `explainer_of`.
        image: (h, w, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    size = np.array([width, height, width, height])
    levels = scan(model, image)
    detections = detect(model, image, model.thresholds, MOST, levels=levels)
    if len(detections):
        label, score, box = int(detections.labels[0]), float(detections.scores[0]), detections.boxes[0] / size
    else:
        found = windows.score_windows(levels, np.array(model.configuration.class_labels))
        instrument = found.probabilities.sum(axis=1)
        best = int(instrument.argmax())
        label, score, box = int(found.probabilities[best].argmax()), float(instrument[best]), found.boxes[best]
    mask = visual_backprop(model, explaining, image)
    return Explanation(detections, label, score, mask, class_mask(model, levels, label, box, mask))


def visual_backprop(model: Model, explaining: keras.Model, image: np.ndarray) -> np.ndarray:
    """VisualBackProp's mask of a whole picture.

    Args:
        model: the model.
        explaining: from `explainer_of`.
        image: (h, w, 3) uint8 RGB.

    Returns:
        (h, w) float32 in [0, 1].
    """
    *_, smallest = levels = list(level_pictures(model, image))
    picture, width, height = next((level for level in levels if max(level[1:]) <= SIDE), smallest)
    mask = _resized(explaining.predict_on_batch(picture[None])[0, :height, :width], image)  # the rest is padding
    mask = mask - mask.min()
    return mask / max(float(mask.max()), np.finfo(np.float32).tiny)


def class_mask(model: Model, levels: list[windows.Level], label: int, box: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What in a whole picture speaks for a label.

    Args:
        model: the model.
        levels: what `scan` gave.
        label: its position.
        box: (4,) where it was found, as shares of the picture's width and height: its size says which levels count.
        mask: (h, w) VisualBackProp's.

    Returns:
        (h, w) float32 in [0, 1].
    """
    own = np.where(np.array(model.configuration.class_labels) == label, 0, -1)
    maps = extent.activation_maps([extent.activation(level, own) for level in levels], mask.shape[1], mask.shape[0])
    activation = np.tensordot(extent.scale_weights(levels, box[None])[0], maps, axes=1)
    return np.asarray(sharpened(_resized(activation, mask)[None, ..., None], mask[None])[0])


def _resized(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A map at the height and width of another array, bilinear."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize(like.shape[1::-1], Image.Resampling.BILINEAR))
