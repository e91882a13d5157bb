"""Photographs to artworks: does it help to take unlabelled artworks as target, with and without restyled photographs?

In each of five draws half of the artworks are the unlabelled target and the other half judges. Nothing was chosen by
the boxes: what is compared are the defaults of ``python -m training adversarial``, with fewer views and epochs.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from annotator.detection.windows import label_probabilities
from annotator.models.bundle import Model
from annotator.pictures import open_rgb
from benchmarks import kept
from benchmarks.accuracy import ARTWORKS, IOUS
from benchmarks.composites import PHOTOGRAPHS
from training import adapt, adversarial, datasets, devices, evaluate, feedback, metrics, transfer
from training.datasets import Picture, labels_of
from training.samples import Sample, load, samples_of
from training.style import recolour

PER_LABEL = 20  # photographs
VIEWS, EPOCHS, SEEDS = 2, 5, 5
WAYS = ("source_only", *adversarial.VARIANTS)


@dataclass(frozen=True)
class Seen:
    """What the frozen backbone says, computed once.

    Attributes:
        photographs: samples.
        features: (VIEWS, photographs, channels).
        artworks: pictures.
        maps: of each artwork, what the backbone sees there.
        windows: of each artwork, (VIEWS, windows, channels).
        crops: samples of the artworks' boxes whose label the model has.
        crop_features: (crops, channels).
    """

    photographs: list[Sample]
    features: np.ndarray
    artworks: list[Picture]
    maps: list[feedback.Seen]
    windows: list[np.ndarray]
    crops: list[Sample]
    crop_features: np.ndarray


def look(model: Model, photographs: list[Picture], artworks: list[Picture]) -> Seen:
    """Pass everything through the backbone."""
    network = transfer.looking(model.network, "features")
    samples = samples_of(photographs, model.labels)
    maps = list(feedback.look(model, artworks))
    windows = []
    for picture, own in zip(artworks, maps, strict=True):
        boxes = [(box[0], box[1], box[2], box[3]) for box in kept.found(model, own).boxes[: adapt.WINDOWS].tolist()]
        windows.append([Sample(picture.path, box, -1) for box in boxes] or [Sample(picture.path, None, -1)])
    every = transfer.features_of(network, [sample for chosen in windows for sample in chosen], VIEWS, 0)
    parted = np.split(every, np.cumsum([len(chosen) for chosen in windows])[:-1], axis=1)
    crops = samples_of(artworks, model.labels)
    crop_features = transfer.features_of(network, crops, 1, 0)[0]
    features = transfer.features_of(network, samples, VIEWS, 0)
    return Seen(samples, features, artworks, maps, parted, crops, crop_features)


def one_draw(model: Model, seen: Seen, seed: int, restyled: bool) -> dict[str, dict[str, float]]:
    """Figures of each way after training with one draw of photographs and artworks."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(seen.photographs))
    learnt, held = order[len(order) // 5 :], order[: len(order) // 5]
    halves = random.permutation(len(seen.artworks))
    target, judged = halves[: len(halves) // 2], halves[len(halves) // 2 :]
    targets = np.array([sample.target for sample in seen.photographs])
    features = [*seen.features[:, learnt]]
    if restyled:
        features.append(_restyled(model, seen, learnt, target, random))
    source = (
        (np.concatenate(features), np.tile(targets[learnt], len(features))),
        (seen.features[0, held], targets[held]),
    )
    fifth = math.ceil(len(target) / 5)
    own = np.concatenate([seen.windows[place].reshape(-1, features[0].shape[-1]) for place in target[fifth:]])
    held_own = np.concatenate([seen.windows[place][0] for place in target[:fifth]])
    other = ((own, np.zeros(len(own))), (held_own, np.zeros(len(held_own))))

    head = model.network.get_layer("head")
    before = head.get_weights()
    transfer.train_head(model, *source)
    fitted = head.get_weights()
    result = {}
    for way in WAYS:
        head.set_weights(fitted)
        devices.prepare(seed)
        if way != "source_only":
            settings = adapt.AdversarialSettings((), None, "head", "", "", None, EPOCHS, seed, "", way)
            with tempfile.TemporaryDirectory() as folder:
                adapt.train_head(model, source, other, settings, Path(folder))
        result[way] = _figures(model, seen, judged)
    head.set_weights(before)
    return result


def _restyled(
    model: Model, seen: Seen, learnt: np.ndarray, target: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Features of the photographs in colours of target artworks drawn at random (Reinhard et al. 2001)."""
    styles = [open_rgb(seen.artworks[place].path) for place in target]
    network = transfer.looking(model.network, "features")
    result = []
    for start in range(0, len(learnt), transfer.BATCH):
        chosen = [seen.photographs[place] for place in learnt[start : start + transfer.BATCH]]
        crops = [recolour.reinhard(load(sample), styles[random.integers(len(styles))][::4, ::4]) for sample in chosen]
        result.append(network.predict_on_batch(np.stack(crops)))
    return np.concatenate(result)


def _figures(model: Model, seen: Seen, judged: np.ndarray) -> dict[str, float]:
    """Accuracy on the judged artworks' boxes, and average precision of any instrument, at IoU 0.1, 0.3 and 0.5."""
    pictures = [seen.artworks[place] for place in judged]
    paths = {picture.path for picture in pictures}
    own = np.array([sample.path in paths for sample in seen.crops])
    kernel, bias = model.network.get_layer("head").get_weights()
    said = label_probabilities(seen.crop_features[own] @ kernel + bias, np.array(model.configuration.class_labels))
    wanted = np.array([sample.target for sample in seen.crops])[own]
    result = {"crops": float(own.sum()), "accuracy": float((said.argmax(axis=1) == wanted).mean())}
    found, truths = [], []
    for place, picture in zip(judged, pictures, strict=True):
        one = kept.found(model, seen.maps[place])
        found.append((one.boxes, one.scores))
        truths.append(evaluate.truth_of(picture.regions))
    every = np.arange(len(pictures))[None]
    for iou in IOUS:
        result[f"any_ap@{iou}"] = float(metrics.judge(found, truths, iou).average_precision(every)[0])
    return result


def run(seeds: int = SEEDS, kinds: Sequence[bool] = (False, True)) -> dict[str, object]:
    """Means over draws, and the differences to source_only with 95 % intervals (Student's t over the draws).

    The draws share photographs and artworks, so that the intervals are narrower than those over new artworks would be.
    """
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    model, seen = prepared()
    result: dict[str, object] = {}
    for restyled in kinds:
        draws = []
        for seed in range(seeds):
            start = time.perf_counter()
            draws.append(one_draw(model, seen, seed, restyled))
            print(f"{restyled=} {seed=} {draws[-1]} ({time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
        result["restyled" if restyled else "photographs"] = summary(draws)
    return result


def prepared() -> tuple[Model, Seen]:
    """The model that all begin with, and what its backbone sees."""
    devices.prepare(0)
    counts: dict[str, int] = {}
    photographs = []
    for picture in datasets.read(PHOTOGRAPHS, "folder"):
        name = picture.regions[0].label.name
        counts[name] = counts.get(name, 0) + 1
        if counts[name] <= PER_LABEL:
            photographs.append(picture)
    model = transfer.start("efficientnet-lite0", "imagenet", labels_of(photographs))
    return model, look(model, photographs, datasets.read(ARTWORKS, "coco"))


def summary(draws: list[dict[str, dict[str, float]]]) -> dict[str, object]:
    """Mean of each figure and way; with the interval of what a variant is above source_only."""
    result: dict[str, object] = {}
    for figure in draws[0]["source_only"]:
        values = {way: np.array([draw[way][figure] for draw in draws]) for way in WAYS}
        own: dict[str, object] = {way: round(float(value.mean()), 3) for way, value in values.items()}
        for way in adversarial.VARIANTS:
            difference = values[way] - values["source_only"]
            half = stats.sem(difference) * stats.t.ppf(0.975, len(draws) - 1) if len(draws) > 1 else np.nan
            own[f"{way}_gain"] = [round(float(difference.mean() + side * half), 3) for side in (0, -1, 1)]
        result[figure] = own
    return result
