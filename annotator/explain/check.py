"""How far the maps of a model can be trusted, measured on pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter
from scipy.stats import bootstrap

from annotator.detection import windows
from annotator.detection.detector import scan
from annotator.explain import sanity
from annotator.explain.maps import RECTIFIED_MAPS
from annotator.explain.picture import class_mask, explain, explainer_of, visual_backprop
from annotator.models.backbones import BACKBONES
from annotator.models.bundle import Model

SIDE = 320  # pixels on the longest side of what is measured on
BLUR = 12  # pixels, standard deviation: nothing of an instrument is left to see
KINDS = ("visual_backprop", "class")

Mean = tuple[float, float, float]  # with the ends of its 95 % interval


@dataclass(frozen=True)
class Trust:
    """Means over pictures with 95 % bootstrap intervals.

    Attributes:
        pictures: how many with a detection there were.
        kept: for each stage of randomisation and each of `KINDS` the rank correlation with the map as it was.
        deletion: for each of `KINDS`, and "random", the area under the curve of the label's score; less is better.
        insertion: the same; more is better.
    """

    pictures: int
    kept: dict[str, dict[str, Mean]]
    deletion: dict[str, Mean]
    insertion: dict[str, Mean]


def shrunk(image: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) of at most `SIDE` pixels on its longest side."""
    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)


def mean_of(values: Sequence[float]) -> Mean:
    """The mean and the ends of its 95 % percentile bootstrap interval; of one value, that value thrice."""
    mean = float(np.mean(values))
    if np.ptp(values) == 0:
        return mean, mean, mean
    interval = bootstrap((values,), np.mean, method="percentile", n_resamples=2000, rng=0).confidence_interval
    return mean, float(interval.low), float(interval.high)


def label_score(model: Model, label: int) -> Callable[[np.ndarray], float]:
    """How a picture is scored: the highest probability of the label in any window."""
    class_labels = np.array(model.configuration.class_labels)
    return lambda image: float(windows.score_windows(scan(model, image), class_labels).probabilities[:, label].max())


def check(model: Model, images: Sequence[np.ndarray], tell: Callable[[int], None] = lambda done: None) -> Trust | None:
    """Randomise a model's weights, and exchange pixels, and see what becomes of the maps and of the score.

    Args:
        model: its weights are shuffled and put back.
        images: (h, w, 3) uint8 each; those without a detection are left out, what is beyond `SIDE` pixels is not used.
        tell: called with the number of pictures that are done with.

    Returns:
        None where no picture has a detection.
    """
    random = np.random.default_rng(0)
    explaining = explainer_of(model)
    grey = np.array(BACKBONES[model.configuration.backbone].preprocessing.grey, np.uint8)
    stages = sanity.cascade(model.network, RECTIFIED_MAPS[model.configuration.backbone])
    weights = model.network.get_weights()
    kept: dict[str, dict[str, list[float]]] = {stage: {kind: [] for kind in KINDS} for stage, _ in stages}
    areas: dict[str, dict[str, list[float]]] = {
        way: {kind: [] for kind in (*KINDS, "random")} for way in ("deletion", "insertion")
    }
    for number, full in enumerate(images, start=1):
        image = shrunk(full)
        found = explain(model, explaining, image)
        if len(found.detections):
            masks = {KINDS[0]: found.visual_backprop, KINDS[1]: found.class_mask}
            blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR)))
            ways = {"deletion": (image, np.broadcast_to(grey, image.shape)), "insertion": (blurred, image)}
            score = label_score(model, found.label)
            height, width = image.shape[:2]
            noise = sanity.smooth_noise(height, width, random)
            for way, (before, after) in ways.items():
                for kind, mask in (masks | {"random": noise}).items():
                    curve = sanity.exchange_curve(score, before, after, mask, random)
                    areas[way][kind].append(sanity.area_under(curve))
            box = found.detections.boxes[0] / [width, height, width, height]
            try:
                for stage, names in stages:
                    sanity.shuffle_weights(model.network, names, random)
                    now = visual_backprop(model, explaining, image)
                    masks_now = (now, class_mask(model, scan(model, image), found.label, box, now))
                    for kind, mask in zip(KINDS, masks_now, strict=True):
                        kept[stage][kind].append(sanity.rank_correlation(masks[kind], mask))
            finally:
                model.network.set_weights(weights)
        tell(number)
    if not areas["deletion"]["random"]:
        return None
    return Trust(
        len(areas["deletion"]["random"]),
        {stage: {kind: mean_of(values) for kind, values in own.items()} for stage, own in kept.items()},
        *({kind: mean_of(values) for kind, values in areas[way].items()} for way in areas),
    )
