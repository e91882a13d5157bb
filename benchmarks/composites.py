"""Detection of photographed instruments pasted into paintings without instruments: many boxes, known to the pixel.

The 37 boxes of the real artworks are too few to choose geometry by: an average precision at IoU 0.5 has an interval of
0.1 to 0.4 there. These composites have hundreds. They look like no artwork, so they decide between ways to draw an
outline, never what the program is worth.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from annotator.detection import detector
from annotator.models import builtin
from benchmarks import accuracy
from training.evaluate import LOWEST, MOST
from training.metrics import Truth

PHOTOGRAPHS = Path(__file__).parents[1] / "../shared/data/photographs"
PICTURES = 240
SIDE = 720  # pixels of a composite's longest side
INSTRUMENT_SIDES = (0.07, 0.55)  # smallest and largest, as shares of that
PER_PICTURE = (0, 1, 1, 2, 3)  # instruments, each as likely


def cut_out(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """An instrument and its mask (h, w) from a photograph (h, w, 3); None where the ground is not plain.

    The ground is what differs by less than 28 of 255 from the median colour of the photograph's rim.
    """
    pixels = photograph.astype(np.float32)
    rim = np.concatenate([pixels[:4].reshape(-1, 3), pixels[-4:].reshape(-1, 3), pixels[:, :4].reshape(-1, 3)])
    ground = np.median(rim, axis=0)
    if np.abs(rim - ground).mean() > 10:
        return None
    mask = ndimage.binary_closing(np.abs(pixels - ground).max(axis=2) > 28, iterations=3)
    mask = ndimage.binary_fill_holes(ndimage.binary_opening(mask))
    pieces, count = ndimage.label(mask)
    if not count:
        return None
    sizes = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    mask = np.isin(pieces, 1 + np.flatnonzero(sizes > 0.05 * sizes.max()))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if mask.mean() < 0.04 or (len(rows) > 0.98 * len(mask) and len(columns) > 0.98 * len(mask)):
        return None
    inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return pixels[inside], mask[inside]


def paste(
    canvas: np.ndarray, instrument: np.ndarray, mask: np.ndarray, taken: list[np.ndarray], random: np.random.Generator
) -> np.ndarray | None:
    """Paste at a random size and a free place, colours drawn towards those around (Reinhard et al. 2001).

    Args:
        canvas: (h, w, 3) float32, changed in place.
        instrument: (h, w, 3) float32.
        mask: (h, w) bool.
        taken: boxes that must not be touched.
        random: for size and place.

    Returns:
        (4,) the box, None if there was no room.
    """
    side = SIDE * np.exp(random.uniform(*np.log(INSTRUMENT_SIDES)))
    height, width = (max(8, round(length * side / max(mask.shape))) for length in mask.shape)
    if height >= canvas.shape[0] - 2 or width >= canvas.shape[1] - 2:
        return None
    for _ in range(20):
        x, y = random.integers(1, canvas.shape[1] - width), random.integers(1, canvas.shape[0] - height)
        box = np.array([x, y, x + width, y + height])
        if all((np.minimum(box[2:], other[2:]) <= np.maximum(box[:2], other[:2])).any() for other in taken):
            break
    else:
        return None
    size = (width, height)
    pixels = np.asarray(Image.fromarray(instrument.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS), np.float32)
    soft = Image.fromarray(mask).convert("L").resize(size).filter(ImageFilter.GaussianBlur(0.8))
    cover = np.asarray(soft, np.float32)[..., None] / 255
    around = canvas[y : y + height, x : x + width]
    own = pixels[cover[..., 0] > 0.5]
    mean, deviation = own.mean(axis=0), own.std(axis=0) + 1
    share = random.uniform(0.2, 0.6)
    wanted_mean = (1 - share) * mean + share * around.mean(axis=(0, 1))
    wanted_deviation = (1 - share) * deviation + share * np.maximum(around.std(axis=(0, 1)), 25)
    painted = np.clip((pixels - mean) / deviation * wanted_deviation + wanted_mean, 0, 255)
    around[...] = around * (1 - cover) + painted * cover
    return box


def compose(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """So many composites, the same each time: (h, w, 3) uint8 pictures and their (m, 4) boxes."""
    random = np.random.default_rng(1)
    with (PHOTOGRAPHS / "labels.csv").open(encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    cuts = filter(None, (cut_out(_read(PHOTOGRAPHS / names[i])) for i in random.permutation(len(names))))
    grounds = [row["file"] for row in accuracy.rows("images.csv") if row["positive"] == "0"]
    for number in range(count):
        with Image.open(accuracy.ARTWORKS / "images" / grounds[number % len(grounds)]) as picture:
            cropped = _crop(picture.convert("RGB"), random)
        canvas = np.asarray(cropped, np.float32).copy()
        boxes: list[np.ndarray] = []
        for _ in range(random.choice(PER_PICTURE)):
            box = paste(canvas, *next(cuts), boxes, random)
            if box is not None:
                boxes.append(box)
        yield canvas.astype(np.uint8), np.array(boxes, float).reshape(-1, 4)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _crop(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    share = random.uniform(0.6, 1)
    width, height = int(picture.width * share), int(picture.height * share)
    x, y = (int(random.integers(0, room + 1)) for room in (picture.width - width, picture.height - height))
    scale = SIDE / max(width, height)
    cropped = picture.crop((x, y, x + width, y + height))
    cropped = cropped.resize((max(64, round(width * scale)), max(64, round(height * scale))), Image.Resampling.LANCZOS)
    return cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else cropped


def run() -> dict[str, object]:
    """Average precision of any instrument on the composites."""
    if not (PHOTOGRAPHS.exists() and accuracy.ARTWORKS.exists()):
        return {"skipped": "the photographs and artworks do not lie beside the project"}
    model = builtin.load()
    collections = {}
    for number, (picture, boxes) in enumerate(compose(PICTURES)):
        found = detector.detect(model, picture, LOWEST, MOST)
        name = str(number)
        collections[name] = ({name: (found.boxes, found.scores)}, {name: Truth(boxes, np.zeros(len(boxes), bool))})
    count = sum(len(truths[name].boxes) for name, (_, truths) in collections.items())
    return {"pictures": PICTURES, "boxes": count, **accuracy.average_precisions(collections, "")}
