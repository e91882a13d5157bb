"""How much the detection costs beside its network's forward passes, and beside scoring window by window."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.detection import detector, windows
from annotator.embedded import gallery
from annotator.models import builtin
from annotator.models.backbones import STRIDE

REPEATS = 5
CROPS = 256  # windows scored one by one; the time of all windows is extrapolated from them
BATCH = 32


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run() -> dict[str, object]:
    """Medians of 5 rounds after a warm-up, in one process, on a drawn picture of 1,792 x 1,344 pixels.

    In each round all three are timed one after the other, so that what else the machine does hits them alike.
    """
    model = builtin.load()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        gallery.draw_gallery(Path(folder))
        with Image.open(Path(folder) / "duo_in_oil.png") as picture:
            image = np.asarray(picture.convert("RGB").resize((1792, 1344)))
    inputs = [picture[None] for picture, _, _ in detector.level_pictures(model, image)]
    count = sum(len(windows.window_cells(item.shape[1] // STRIDE, item.shape[2] // STRIDE)) for item in inputs)
    crops = random.integers(0, 255, (CROPS, 224, 224, 3), np.uint8)

    def forward() -> None:
        for item in inputs:
            model.inference_network.predict_on_batch(item)

    def detect() -> None:
        detector.detect(model, image, 0.02, 100)

    def window_by_window() -> None:
        for start in range(0, CROPS, BATCH):
            model.inference_network.predict_on_batch(crops[start : start + BATCH])

    works = (forward, detect, window_by_window)
    for work in works:
        work()
    rounds = np.array([[_seconds(work) for work in works] for _ in range(REPEATS)])
    backbone, detection, single = np.median(rounds, axis=0)
    ratios = rounds[:, 1] / rounds[:, 0]
    return {
        "detection_over_backbone": round(float(np.median(ratios)), 3),
        "spread": [round(float(ratios.min()), 3), round(float(ratios.max()), 3)],
        "window_by_window_over_detection": round(float(single / CROPS * count / detection), 1),
        "windows": count,
        "seconds": {"backbone": round(float(backbone), 3), "detection": round(float(detection), 3)},
    }
