"""What it costs to look at ever larger pictures at their full resolution: time per megapixel, and peak memory."""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.detection import SCAN_SIDE, blocks, detect, finer_sizes, pyramid
from annotator.embedded import gallery
from annotator.embedded.process import running
from annotator.models import builtin
from benchmarks import memory

SIDES = (900, 1792, 3584, 7168, 10_240)  # of square pictures, in pixels; largest levels of 1.6 to 105 megapixels
REPEATS = 3  # of those that take seconds
MEGAPIXELS = (50, 400)  # of the pictures of whole jobs


def run() -> dict[str, object]:
    """Processor time of `detect` over the megapixels of the largest level; then memory of jobs.

    Processor time, since the largest take minutes, in which other programs come and go.
    """
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gallery.draw_gallery(folder / "gallery")
        picture = folder / "gallery/duo_in_oil.png"
        with Image.open(picture) as opened:
            seconds = {side: _seconds(opened.convert("RGB"), side) for side in SIDES}
        result["seconds_per_megapixel"] = {f"{size:.1f}": round(each, 3) for size, each in seconds.values()}
        large = [each for side, (_, each) in seconds.items() if side >= SCAN_SIDE]
        result["most_over_least"] = round(max(large) / min(large), 2)
        with running(folder / "server") as access:
            for megapixels in MEGAPIXELS:
                enlarged = memory.enlarged(picture, megapixels, folder)
                found = memory.job(folder / "server", access.host, [enlarged], longest_side=100_000)
                result[f"{megapixels}_megapixels_in_full"] = found
                enlarged.unlink()
    return result


def _seconds(picture: Image.Image, side: int) -> tuple[float, float]:
    """Megapixels of the largest level, and the least processor time for each after a warm-up."""
    model = builtin.load()
    image = np.asarray(picture.resize((side, side)))
    thumb = pyramid.resize(image, min(side, SCAN_SIDE), min(side, SCAN_SIDE))
    finer = blocks.in_memory(image, side)
    width, height = (*finer_sizes(side, side, side), pyramid.level_sizes(side, side)[-1])[0]
    times = []
    for _ in range(1 + REPEATS if side <= 2 * SCAN_SIDE else 1):
        start = time.process_time()
        detect(model, thumb, model.threshold, 100, finer=finer)
        times.append(time.process_time() - start)
    return width * height / 1e6, min(times) / (width * height / 1e6)
