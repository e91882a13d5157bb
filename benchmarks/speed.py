"""How much the detection costs beside its network's forward passes, and beside scoring window by window."""

import statistics
import time
from collections.abc import Callable

import numpy as np

from annotator.detection import detector, pyramid, windows
from annotator.embedded import gallery
from annotator.models import builtin
from annotator.models.backbones import BACKBONES, STRIDE

REPEATS = 5
CROPS = 256  # windows scored one by one; the time of all windows is extrapolated from them
BATCH = 32


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run() -> dict[str, object]:
    """Median of 5 after one warm-up, one process, a drawn picture of 1,792 x 1,344 pixels."""
    model = builtin.load()
    random = np.random.default_rng(0)
    image = np.asarray(gallery._ground(random).resize((1792, 1344)))
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    sizes = pyramid.level_sizes(1792, 1344)
    inputs = [pyramid.pad(pyramid.resize(image, *size), STRIDE, colour)[None] for size in sizes]
    count = sum(len(windows.window_cells(item.shape[1] // STRIDE, item.shape[2] // STRIDE)) for item in inputs)
    crops = random.integers(0, 255, (CROPS, 224, 224, 3), np.uint8)

    def forward() -> None:
        for item in inputs:
            model.network.predict_on_batch(item)

    def detect() -> None:
        detector.detect(model, image, 0.02, 100)

    def window_by_window() -> None:
        for start in range(0, CROPS, BATCH):
            model.network.predict_on_batch(crops[start : start + BATCH])

    for work in (forward, detect, window_by_window):
        work()
    backbone, detection, single = _seconds(forward), _seconds(detect), _seconds(window_by_window)
    return {
        "detection_over_backbone": round(detection / backbone, 3),
        "window_by_window_over_detection": round(single / CROPS * count / detection, 1),
        "windows": count,
        "seconds": {"backbone": round(backbone, 3), "detection": round(detection, 3)},
    }
