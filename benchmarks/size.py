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
from annotator.models.bundle import Model
from benchmarks import memory

SIDES = (900, 3584, 7168, 10_240)  # of square pictures, in pixels; largest levels of 1.6 to 105 megapixels
MEGAPIXELS = (50, 400)  # of the pictures of whole jobs


def run() -> dict[str, object]:
    """Processor time of `detect` over the megapixels of the largest level; then memory of jobs.

    Processor time, since the largest take minutes, in which other programs come and go; and each beside that of a
    picture of 1,792 pixels just before and just after, since these programs slow every instruction.
    """
    model = builtin.load()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gallery.draw_gallery(folder / "gallery")
        picture = folder / "gallery/duo_in_oil.png"
        with Image.open(picture) as opened:
            painting = opened.convert("RGB")
        for side in (SIDES[0], SCAN_SIDE, 2 * SCAN_SIDE):  # compiles
            _seconds(model, painting, side)
        for side in SIDES:
            before, own, after = (_seconds(model, painting, each) for each in (SCAN_SIDE, side, SCAN_SIDE))
            result[f"side_{side}"] = {
                "megapixels": round(own[0], 1),
                "seconds_per_megapixel": round(own[1], 3),
                "over_that_of_1792": round(2 * own[1] / (before[1] + after[1]), 3),
            }
        with running(folder / "server") as access:
            for megapixels in MEGAPIXELS:
                enlarged = memory.enlarged(picture, megapixels, folder)
                found = memory.job(folder / "server", access.host, [enlarged], longest_side=100_000)
                result[f"{megapixels}_megapixels_in_full"] = found
                enlarged.unlink()
    return result


def _seconds(model: Model, picture: Image.Image, side: int) -> tuple[float, float]:
    """Megapixels of the largest level, and the processor time for each."""
    image = np.asarray(picture.resize((side, side)))
    thumb = pyramid.resize(image, min(side, SCAN_SIDE), min(side, SCAN_SIDE))
    finer = blocks.in_memory(image, side)
    width, height = (*finer_sizes(side, side, side), pyramid.level_sizes(side, side)[-1])[0]
    start = time.process_time()
    detect(model, thumb, model.threshold, 100, finer=finer)
    return width * height / 1e6, (time.process_time() - start) / (width * height / 1e6)
