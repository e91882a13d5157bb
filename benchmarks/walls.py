"""Small instruments in large pictures: artworks hung on walls, looked at with and without full resolution."""

import numpy as np
from PIL import Image

from annotator.detection import SCAN_SIDE, Detections, blocks, detect, pyramid
from annotator.models import builtin
from benchmarks import accuracy
from training.evaluate import LOWEST, read_shrunk
from training.metrics import Truth, judge, match

SIDE = 5120  # pixels of a wall
ABREAST = 4
ARTWORK_SIDE = 1160  # largest, in pixels
PLASTER = (150, 146, 138)


def hang(rows: list[dict[str, str]], boxes: list[dict[str, str]]) -> tuple[np.ndarray, Truth]:
    """A wall with these artworks, and the boxes of their instruments on it."""
    wall = Image.new("RGB", (SIDE, SIDE), PLASTER)
    room = SIDE // ABREAST
    corners, difficult = [], []
    for place, row in enumerate(rows):
        pixels, width, _ = read_shrunk(accuracy.ARTWORKS / "images" / row["file"])
        artwork = Image.fromarray(pixels)
        artwork.thumbnail((ARTWORK_SIDE, ARTWORK_SIDE))
        x = place % ABREAST * room + (room - artwork.width) // 2
        y = place // ABREAST * room + (room - artwork.height) // 2
        wall.paste(artwork, (x, y))
        for box in boxes:
            if box["image_id"] == row["image_id"]:
                own = np.array([float(box[side]) for side in ("xmin", "ymin", "xmax", "ymax")])
                corners.append(own * artwork.width / width + [x, y, x, y])
                difficult.append(box["difficult"] == "1")
    return np.asarray(wall), Truth(np.array(corners).reshape(-1, 4), np.array(difficult, bool))


def run() -> dict[str, object]:
    """Average precision and recall of any instrument, and what is drawn at the default threshold."""
    if not accuracy.ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    model = builtin.load()
    rows, boxes = accuracy.rows("images.csv"), accuracy.rows("boxes.csv")
    order = np.random.default_rng(0).permutation(len(rows))
    truths: list[Truth] = []
    found: dict[str, list[Detections]] = {"thumb": [], "in_full": []}
    for first in range(0, len(rows), ABREAST**2):
        wall, truth = hang([rows[number] for number in order[first : first + ABREAST**2]], boxes)
        truths.append(truth)
        thumb = pyramid.resize(wall, SCAN_SIDE, SCAN_SIDE)
        for way, finer in (("thumb", None), ("in_full", blocks.in_memory(wall, SIDE))):
            here = detect(model, thumb, LOWEST, 1000, finer=finer)
            found[way].append(here.scaled(SIDE / SCAN_SIDE, SIDE / SCAN_SIDE))
    result: dict[str, object] = {"walls": len(truths)}
    for way, each in found.items():
        figures: dict[str, object] = {}
        for iou in accuracy.IOUS:
            judged = judge([(one.boxes, one.scores) for one in each], truths, iou)
            figures[f"ap@{iou}"] = round(float(judged.average_precision(np.ones((1, len(truths))))[0]), 3)
            figures[f"recall@{iou}"] = round(float(judged.right.sum() / judged.wanted.sum()), 3)
        drawn = [one[one.scores >= model.threshold] for one in each]
        matched = [match(one.boxes, one.scores, truth, 0.1) for one, truth in zip(drawn, truths, strict=True)]
        figures["found_at_threshold"] = sum(int(right.sum()) for right, _ in matched)
        figures["false_at_threshold"] = sum(int((counted & ~right).sum()) for right, counted in matched)
        figures["wanted"] = sum(int((~truth.difficult).sum()) for truth in truths)
        result[way] = figures
    return result
