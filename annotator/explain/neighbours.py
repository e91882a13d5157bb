"""Which labelled examples a detection is most like, to the network that made it."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from PIL import Image

from annotator.explain.crops import BATCH, SIDE, crop_around
from annotator.models.backbones import BACKBONES
from annotator.models.bundle import Model
from annotator.models.examples import Examples
from annotator.models.fused import fused
from annotator.pictures import jpeg

EXAMPLE_SIDE = 96  # pixels of an example's picture
QUALITY = 80  # of its JPEG
SHOWN = 3  # of each detection


def describer_of(model: Model) -> keras.Model:
    """A network from crops (n, SIDE, SIDE, 3) to the mean of the features that the model's head gets, (n, channels)."""
    features = model.network.get_layer("head").input
    mean = keras.layers.GlobalAveragePooling2D(dtype="float32")(features)
    return fused(keras.Model(model.network.input, mean))


def described(describing: keras.Model, crops: np.ndarray) -> np.ndarray:
    """Crops (n, SIDE, SIDE, 3) as features (n, channels) float32 of length 1."""
    batches = [describing.predict_on_batch(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
    features = np.concatenate(batches) if batches else np.zeros((0, describing.output_shape[-1]), np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def examples_of(model: Model, regions: Iterable[tuple[np.ndarray, np.ndarray, str, str]]) -> Examples:
    """Regions of pictures as examples.

    Args:
        model: that they are to be kept with.
        regions: pictures (h, w, 3) uint8, boxes (4,) in their pixels, what they show, and where they are from.
    """
    describing = describer_of(model)
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    features, names, sources, crops = [described(describing, np.zeros((0, SIDE, SIDE, 3), np.uint8))], [], [], []
    for image, box, name, source in regions:
        crop = crop_around(image, box, colour)
        features.append(described(describing, crop[None]))
        small = Image.fromarray(crop).resize((EXAMPLE_SIDE, EXAMPLE_SIDE), Image.Resampling.LANCZOS)
        crops.append(jpeg(small, QUALITY))
        names.append(name)
        sources.append(source)
    return Examples(np.concatenate(features).astype(np.float16), tuple(names), tuple(sources), tuple(crops))


def nearest(features: np.ndarray, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """The examples that are most alike, by the cosine of their features.

    Args:
        features: (n, channels) of length 1.
        examples: k of them.

    Returns:
        (n, min(k, SHOWN)) positions, most alike first, and the cosines.
    """
    cosines = features @ examples.features.astype(np.float32).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :SHOWN]
    return order, np.take_along_axis(cosines, order, axis=1)
