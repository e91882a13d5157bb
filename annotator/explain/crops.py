"""Explanations of single detections, each cut out of its picture."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from PIL import Image

from annotator.explain.class_activation import class_explainer
from annotator.explain.maps import RECTIFIED_MAPS
from annotator.models.backbones import BACKBONES
from annotator.models.bundle import Model

SIDE = 224  # pixels of a crop
AROUND = 1.4  # sides of the crop over the longest side of the box
BATCH = 16


class CropExplanations(NamedTuple):
    """What speaks for what in n crops.

    Attributes:
        crops: (n, SIDE, SIDE, 3) uint8 RGB.
        visual_backprop: (n, SIDE, SIDE) float32 in [0, 1].
        class_masks: the same for the label of each.
    """

    crops: np.ndarray
    visual_backprop: np.ndarray
    class_masks: np.ndarray


def crop_explainer_of(model: Model) -> keras.Model:
    """VisualBackProp and its companion for a model's network."""
    return class_explainer(model.network, RECTIFIED_MAPS[model.configuration.backbone])


def crop_around(image: np.ndarray, box: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A square around a box, in `SIDE` pixels: the box in its middle, or as near to it as the picture's border lets.

    Args:
        image: (h, w, 3) uint8.
        box: (4,) x0, y0, x1, y1 in pixels, not wholly outside.
        colour: of what lies outside a picture that is narrower than the square.

    Returns:
        (SIDE, SIDE, 3) uint8.
    """
    middle, side = (box[:2] + box[2:]) / 2, max(1.0, AROUND * float((box[2:] - box[:2]).max()))
    scale, room = SIDE / side, np.array(image.shape[1::-1]) - side
    start = np.where(room > 0, np.clip(middle - side / 2, 0, room), room / 2)
    low = np.clip(np.floor(start), 0, None)
    high = np.clip(np.ceil(start + side), None, image.shape[1::-1])
    place = np.round((low - start) * scale).astype(int)
    size = np.maximum(np.round((high - low) * scale).astype(int), 1)
    part = Image.fromarray(image).crop((*low.astype(int), *high.astype(int)))
    canvas = Image.new("RGB", (SIDE, SIDE), colour)
    canvas.paste(part.resize((int(size[0]), int(size[1])), Image.Resampling.LANCZOS), (int(place[0]), int(place[1])))
    return np.asarray(canvas)


def explain_crops(
    model: Model, explaining: keras.Model, image: np.ndarray, boxes: np.ndarray, labels: np.ndarray
) -> CropExplanations:
    """Where the network looks around each box, and what there speaks for its label.

    Args:
        model: the model.
        explaining: from `crop_explainer_of`.
        image: (h, w, 3) uint8 RGB.
        boxes: (n, 4) in pixels of it.
        labels: (n,) positions of labels.
    """
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    crops = np.array([crop_around(image, box, colour) for box in boxes], np.uint8).reshape(-1, SIDE, SIDE, 3)
    own = (np.array(model.configuration.class_labels) == labels[:, None]).astype(np.float32)
    masks = np.zeros((2, len(crops), SIDE, SIDE), np.float32)
    for start in range(0, len(crops), BATCH):
        batch = slice(start, start + BATCH)
        masks[:, batch] = explaining.predict_on_batch([crops[batch], own[batch]])
    return CropExplanations(crops, *masks)
