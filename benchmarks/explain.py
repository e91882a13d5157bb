"""What explanations cost beside a forward pass, and how far they can be trusted, on real artworks."""

import time
from collections.abc import Callable

import numpy as np

from annotator.explain import check, sanity
from annotator.explain.class_activation import class_explainer
from annotator.explain.maps import RECTIFIED_MAPS
from annotator.explain.picture import explain, explainer_of
from annotator.explain.visual_backprop import explainer
from annotator.models import builtin
from annotator.models.backbones import build_network
from benchmarks import accuracy
from training.datasets.pictures import read_shrunk

BATCH = 8
SIDE = 224  # pixels
ROUNDS = 9


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ratios(backbone: str) -> dict[str, list[float]]:
    """Time of explaining a batch over that of its forward pass: median, least and most of the rounds.

    In each round all three are timed one after the other, so that what else the machine does hits them alike.
    """
    network, maps = build_network(backbone, classes=30), RECTIFIED_MAPS[backbone]
    pixels = np.random.default_rng(0).integers(0, 255, (BATCH, SIDE, SIDE, 3), np.uint8)
    own = np.eye(30, dtype=np.float32)[:BATCH]
    alone, both = explainer(network, maps), class_explainer(network, maps)
    works = (
        lambda: network.predict_on_batch(pixels),
        lambda: alone.predict_on_batch(pixels),
        lambda: both.predict_on_batch([pixels, own]),
    )
    for work in works * 2:
        work()
    rounds = np.array([[_seconds(work) for work in works] for _ in range(ROUNDS)])
    ratios = rounds[:, 1:] / rounds[:, :1]
    summary = np.stack([np.median(ratios, axis=0), ratios.min(axis=0), ratios.max(axis=0)]).T
    return dict(zip(("visual_backprop", "both"), summary.round(3).tolist(), strict=True))


def run() -> dict[str, object]:
    """Ratios of time; on the artworks the energy pointing game, randomisation, deletion and insertion."""
    result: dict[str, object] = {
        "time_over_forward_pass": {name: _ratios(name) for name in ("efficientnet-lite0", "resnet50", "vgg19")}
    }
    if not accuracy.ARTWORKS.exists():
        return result | {"skipped": "the artworks do not lie beside the project"}
    model = builtin.load()
    explaining = explainer_of(model)
    boxes = accuracy.rows("boxes.csv")
    images, inside = [], []
    for row in accuracy.rows("images.csv"):
        image, width, _ = read_shrunk(accuracy.ARTWORKS / "images" / row["file"])
        images.append(check.shrunk(image))
        own = [box for box in boxes if box["image_id"] == row["image_id"]]
        corners = np.array([[float(box[side]) for side in ("xmin", "ymin", "xmax", "ymax")] for box in own])
        difficult = np.array([box["difficult"] == "1" for box in own], bool)
        if len(own) and not difficult.all():
            corners *= image.shape[1] / width
            found = explain(model, explaining, image)
            masks = (found.visual_backprop, found.class_mask)
            shares = [sanity.share_inside(mask, corners[~difficult], corners[difficult]) for mask in masks]
            inside.append([shares[0][1], shares[0][0], shares[1][0]])
    for name, values in zip(("area", "visual_backprop", "class"), np.array(inside).T, strict=True):
        result[f"inside_{name}"] = _rounded(check.mean_of(values))
    result["pictures_with_boxes"] = len(inside)
    trust = check.check(model, images)
    assert trust is not None
    result["pictures_with_detections"] = trust.pictures
    result["rank_correlation_after_shuffling"] = {
        stage: {kind: _rounded(mean) for kind, mean in own.items()} for stage, own in trust.kept.items()
    }
    for way in ("deletion", "insertion"):
        result[way] = {kind: _rounded(mean) for kind, mean in getattr(trust, way).items()}
    return result


def _rounded(values: tuple[float, float, float]) -> list[float]:
    return [round(value, 3) for value in values]
