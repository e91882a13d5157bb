"""Non-maximum suppression of very many boxes, in time and memory, against comparing each kept box with all others."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import psutil

from annotator.detection.boxes import intersection_over_union
from annotator.detection.suppression import suppress

COUNT = 100_000
PLAIN_COUNT = 20_000  # the plain way grows with the square
DENSITIES = ((20_000, 200), (4_000, 200), (2_000, 300), (500, 100))  # side of the picture, largest side of a box


def _random_boxes(count: int, side: int, largest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    low = random.uniform(0, side, (count, 2))
    boxes = np.concatenate([low, low + random.uniform(10, largest, (count, 2))], axis=1)
    return boxes, random.integers(0, 23, count), random.random(count)


def _plain(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, same_label: float, other_label: float) -> int:
    order = np.argsort(-scores, kind="stable")
    kept = 0
    while len(order):
        best, rest = order[0], order[1:]
        limit = np.where(labels[rest] == labels[best], same_label, other_label)
        order = rest[intersection_over_union(boxes[best], boxes[rest]) <= limit]
        kept += 1
    return kept


def _peak_mib(work: Callable[[], object]) -> float:
    """What ``work`` adds to this process's resident memory at the most, sampled 200 times a second."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    with ThreadPoolExecutor(max_workers=1) as executor:
        working = executor.submit(work)
        while not working.done():
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.005)
        working.result()
    return (peak - before) / 2**20


def run() -> dict[str, object]:
    """One run for each density of random boxes."""
    result: dict[str, object] = {}
    for side, largest in DENSITIES:
        values = _random_boxes(COUNT, side, largest)
        work = partial(suppress, *values, same_label=0.3, other_label=0.5, inside=0.8)
        peak = _peak_mib(work)  # first, before freed memory can hide what it takes
        start = time.perf_counter()
        kept = work()
        seconds = time.perf_counter() - start

        fewer = _random_boxes(PLAIN_COUNT, side, largest)
        start = time.perf_counter()
        ours = suppress(*fewer, same_label=0.3, other_label=0.5)
        middle = time.perf_counter()
        plain = _plain(*fewer, same_label=0.3, other_label=0.5)
        ratio = (time.perf_counter() - middle) / (middle - start)
        if len(ours) != plain:
            raise AssertionError(f"the plain way keeps {plain} boxes, ours {len(ours)}")
        result[f"{largest} in {side} px"] = {
            "kept": len(kept),
            "seconds": round(seconds, 2),
            "peak_mib": round(peak),
            f"plain_over_ours_for_{PLAIN_COUNT}": round(ratio, 1),
        }
    return result
