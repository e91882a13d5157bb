"""Explanations of single detections, each cut out of its picture."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from PIL import Image

from annotator.detection.blocks import Finer
from annotator.explain.class_activation import class_explainer
from annotator.explain.maps import RECTIFIED_MAPS
from annotator.models.backbones import BACKBONES
from annotator.models.bundle import Model
from annotator.models.fused import fused

SIDE = 224  # pixels of a crop
AROUND = 1.4  # sides of the crop over the longest side of the box
BATCH = 16  # crops that are explained at a time


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
    return fused(class_explainer(model.network, RECTIFIED_MAPS[model.configuration.backbone]))


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


def finest_crop(image: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], finer: Finer | None) -> np.ndarray:
    """`crop_around`, from the smallest level of the picture that has all pixels that the crop can show.

    Args:
        image: (h, w, 3) uint8.
        box: (4,) in pixels of it.
        colour: as for `crop_around`.
        finer: larger levels of the picture; None: there are none.

    Raises:
        AnnotatorError: (BAD_IMAGE) the pixels of a larger level cannot be had.
    """
    size = np.array(image.shape[1::-1])
    side = max(1.0, AROUND * float((box[2:] - box[:2]).max()))
    if finer is None or side >= SIDE:
        return crop_around(image, box, colour)
    enough = [own for own in finer.sizes if own[0] * side >= size[0] * SIDE]
    level = min(enough, default=max(finer.sizes))
    box, side = box * np.tile(np.divide(level, size), 2), side * level[0] / size[0]
    middle = (box[:2] + box[2:]) / 2
    # A whole crop to each side: so far it may have to move from the border.
    low = np.clip(np.floor(middle - side), 0, None).astype(int)
    high = np.clip(np.ceil(middle + side), None, level).astype(int)
    part = finer.read(level, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    return crop_around(part, box - np.tile(low, 2), colour)


def explain_crops(
    model: Model,
    explaining: keras.Model,
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    finer: Finer | None = None,
) -> CropExplanations:
    """Where the network looks around each box, and what there speaks for its label.

    Args:
        model: the model.
        explaining: from `crop_explainer_of`.
        image: (h, w, 3) uint8 RGB.
        boxes: (n, 4) in pixels of it.
        labels: (n,) positions of labels.
        finer: larger levels of the picture, from which small boxes are cut; None: there are none.

    Raises:
        AnnotatorError: (BAD_IMAGE) the pixels of a larger level cannot be had.
    """
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    crops = np.array([finest_crop(image, box, colour, finer) for box in boxes], np.uint8).reshape(-1, SIDE, SIDE, 3)
    own = (np.array(model.configuration.class_labels) == labels[:, None]).astype(np.float32)
    masks = np.zeros((2, len(crops), SIDE, SIDE), np.float32)
    for start in range(0, len(crops), BATCH):
        batch = slice(start, start + BATCH)
        masks[:, batch] = explaining.predict_on_batch([crops[batch], own[batch]])
    return CropExplanations(crops, *masks)
