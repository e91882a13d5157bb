"""Cut and paste: photographed instruments set into pictures without any, so that every box is known (Dwibedi 2017).

A detector trained on such pictures would soon learn to see the seam instead of the instrument. So the seam is blended
in several ways, pieces of other paintings are pasted with the same seams and are no instruments, and the whole picture
is recoloured, smeared or reduced to a print after the paste.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from scipy import ndimage

from annotator.detection.boxes import area, intersection
from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import open_rgb, picture_files
from training import datasets, plots, splits
from training.datasets import Picture, labels_of
from training.datasets.coco import ANNOTATIONS, IMAGES, annotation, write
from training.plain_ground import object_mask

SIDE = 800  # pixels of a composite's longest side
INSTRUMENT_SIDES = (0.06, 0.8)  # smallest and largest, as shares of that
INSTRUMENTS = (0, 1, 1, 1, 2, 2, 3)  # in a picture, each as likely
DISTRACTORS = 4  # in a picture at the most
OVERLAP = 0.2  # of the smaller of two instruments that may be hidden by the other
COVERED = (0.04, 0.9)  # share of a photograph that its instrument covers: with less or more the mask is doubtful
BLENDS = ("hard", "soft", "wide", "bands")
HELD = 0.1  # share of the composites that chooses, and that judges


@dataclass(frozen=True)
class Cutout:
    """Pixels that are pasted: (h, w, 3) uint8, and where they count: (h, w) bool."""

    pixels: np.ndarray
    mask: np.ndarray


def cut_out(photograph: np.ndarray) -> Cutout | None:
    """The instrument of a photograph (h, w, 3) uint8 on plain ground, without its surroundings; None where it has none.

    The mask is of the object that differs from the ground; a photograph that it fills, or hardly covers, is not used.
    """
    mask = object_mask(photograph)
    if mask is None or not COVERED[0] <= mask.mean() <= COVERED[1]:
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == mask.shape[0] and len(columns) == mask.shape[1]:
        return None
    inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Cutout(photograph[inside], mask[inside])


def blob(picture: np.ndarray, random: np.random.Generator) -> Cutout:
    """A piece of a picture (h, w, 3) uint8 with a random smooth or angular outline: what an instrument is not."""
    height, width = picture.shape[:2]
    share = np.exp(random.uniform(np.log(0.1), np.log(0.6)))
    stretch = np.exp(random.uniform(-1, 1) / 2)
    high, wide = (
        int(np.clip(side, 16, most))
        for side, most in ((share * height * stretch, height), (share * width / stretch, width))
    )
    y, x = random.integers(0, height - high + 1), random.integers(0, width - wide + 1)
    corners = random.integers(4, 14)
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    radii = random.uniform(0.5, 1, corners)
    points = np.stack([(1 + radii * np.cos(angles)) * wide / 2, (1 + radii * np.sin(angles)) * high / 2], axis=1)
    drawn = Image.new("L", (wide, high))
    ImageDraw.Draw(drawn).polygon([tuple(point) for point in points.tolist()], fill=255)
    if random.random() < 0.7:
        drawn = drawn.filter(ImageFilter.GaussianBlur(min(high, wide) / random.uniform(8, 20)))
    return Cutout(picture[y : y + high, x : x + wide], np.asarray(drawn) > 127)


def turned(cutout: Cutout, angle: float, side: float, mirrored: bool) -> Cutout:
    """A cut-out turned by ``angle`` degrees, mirrored or not, its longest side then ``side`` pixels."""
    pixels, mask = Image.fromarray(cutout.pixels), Image.fromarray(cutout.mask).convert("L")
    if mirrored:
        pixels, mask = (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (pixels, mask))
    pixels = pixels.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    mask = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    box = mask.point(lambda value: 255 * (value > 127)).getbbox() or (0, 0, *mask.size)
    pixels, mask = pixels.crop(box), mask.crop(box)
    scale = side / max(mask.size)
    size = (max(4, round(mask.width * scale)), max(4, round(mask.height * scale)))
    smaller = np.asarray(pixels.resize(size, Image.Resampling.LANCZOS))
    return Cutout(smaller, np.asarray(mask.resize(size, Image.Resampling.BOX)) > 127)


def painted(cutout: Cutout, random: np.random.Generator) -> Cutout:
    """The cut-out in a light that falls from one side, half the time with its fine detail smeared as by a brush."""
    height, width = cutout.mask.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle, dark = random.uniform(0, 2 * np.pi), random.uniform(0, 0.7)
    light = 1 - dark * (0.5 + (x * np.cos(angle) + y * np.sin(angle)) / (2 * np.sqrt(2)))
    pixels = Image.fromarray(np.clip(cutout.pixels * light[..., None], 0, 255).astype(np.uint8))
    if random.random() < 0.5:
        pixels = pixels.filter(ImageFilter.MedianFilter(int(random.choice([3, 5]))))
    return Cutout(np.asarray(pixels), cutout.mask)


def recoloured(cutout: Cutout, around: np.ndarray, share: float) -> Cutout:
    """The cut-out with its mean and spread of colour drawn towards those of ``around`` (Reinhard et al. 2001).

    Args:
        cutout: what is pasted.
        around: (..., 3) pixels of the place where it goes.
        share: 0 leaves the colours as they are, 1 takes those of the place.
    """
    own = cutout.pixels[cutout.mask if cutout.mask.any() else ...].reshape(-1, 3).astype(np.float32)
    mean, deviation = own.mean(axis=0), own.std(axis=0) + 1
    there = around.reshape(-1, 3).astype(np.float32)
    wanted_mean = (1 - share) * mean + share * there.mean(axis=0)
    wanted_deviation = (1 - share) * deviation + share * np.maximum(there.std(axis=0), 25)
    pixels = (cutout.pixels - mean) / deviation * wanted_deviation + wanted_mean
    return Cutout(np.clip(pixels, 0, 255).astype(np.uint8), cutout.mask)


def blend(under: np.ndarray, over: Cutout, how: str) -> np.ndarray:
    """Lay a cut-out over pixels of its size.

    Args:
        under: (h, w, 3) uint8.
        over: of the same height and width.
        how: of `BLENDS`: "hard" as it is; "soft" and "wide" with an edge of one or of three pixels; "bands" with an
            edge that is the wider the coarser the detail (two bands; Burt & Adelson 1983).

    Returns:
        (h, w, 3) uint8.
    """
    below, above, mask = under.astype(np.float32), over.pixels.astype(np.float32), over.mask.astype(np.float32)
    if how == "bands":
        fine = [image - ndimage.gaussian_filter(image, (3, 3, 0)) for image in (below, above)]
        narrow, wide = (ndimage.gaussian_filter(mask, sigma)[..., None] for sigma in (0.7, 2.5))
        coarse = (below - fine[0]) * (1 - wide) + (above - fine[1]) * wide
        mixed = coarse + fine[0] * (1 - narrow) + fine[1] * narrow
    else:
        cover = ndimage.gaussian_filter(mask, {"hard": 0.0, "soft": 0.8, "wide": 2.0}[how])[..., None]
        mixed = below * (1 - cover) + above * cover
    return np.clip(mixed, 0, 255).astype(np.uint8)


def paste(canvas: np.ndarray, cutout: Cutout, x: int, y: int, random: np.random.Generator) -> None:
    """Recolour and blend a cut-out into the canvas (h, w, 3) uint8, in place, with its corner at x, y."""
    height, width = cutout.mask.shape
    there = canvas[y : y + height, x : x + width]
    there[...] = blend(there, recoloured(cutout, there, random.uniform(0, 0.9)), str(random.choice(BLENDS)))


def aged(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The whole picture (h, w, 3) uint8 recoloured and smeared at random, as paint, print and photography do."""
    image = Image.fromarray(picture)
    for enhance, spread in ((ImageEnhance.Brightness, 0.3), (ImageEnhance.Contrast, 0.4), (ImageEnhance.Color, 0.7)):
        image = enhance(image).enhance(float(np.exp(random.uniform(-spread, spread))))
    kind = random.random()
    if kind < 0.15:  # a print or drawing
        grey = np.asarray(image.convert("L"), np.float32)[..., None] / 255
        paper, ink = random.uniform(170, 255, 3), random.uniform(0, 80, 3)
        image = Image.fromarray((ink + (paper - ink) * grey ** random.uniform(0.6, 1.5)).astype(np.uint8))
    elif kind < 0.4:  # strokes of a brush
        size = int(random.choice([3, 5]))
        image = image.filter(ImageFilter.MedianFilter(size) if random.random() < 0.5 else ImageFilter.ModeFilter(size))
    elif kind < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 1.5)))
    noise = random.normal(0, random.uniform(0, 10), (*picture.shape[:2], 1))
    return np.clip(np.asarray(image, np.float32) + noise, 0, 255).astype(np.uint8)


def ground(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random part of a picture (h, w, 3) uint8, flipped half the time, its longest side `SIDE` pixels."""
    height, width = picture.shape[:2]
    share = random.uniform(0.4, 1)
    wide, high = int(width * share), int(height * share)
    x, y = random.integers(0, width - wide + 1), random.integers(0, height - high + 1)
    scale = SIDE / max(wide, high)
    size = (max(64, round(wide * scale)), max(64, round(high * scale)))
    part = Image.fromarray(picture[y : y + high, x : x + wide]).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else part)


def composite(
    below: np.ndarray,
    instruments: Sequence[Cutout],
    distractors: Sequence[Cutout],
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """One picture of instruments, and of things that are none, pasted into a ground.

    Args:
        below: (h, w, 3) uint8, without instruments.
        instruments: pasted at a random size, turn and place; one for which there is no room is left out.
        distractors: half of them are pasted before the instruments, half after, over a part of an instrument.
        random: decides.

    Returns:
        The picture, (h, w, 3) uint8, and the boxes of the instruments, (n, 4) pixels; (0, 0, 0, 0) for one left out.
    """
    canvas = below.copy()
    height, width = canvas.shape[:2]
    boxes = np.zeros((len(instruments), 4))
    over = len(distractors) // 2

    def placed(cutout: Cutout, side: float, angle: float) -> Cutout | None:
        cutout = turned(cutout, angle, side, random.random() < 0.5)
        return cutout if cutout.mask.shape[0] < height and cutout.mask.shape[1] < width else None

    for distractor in distractors[over:]:
        piece = placed(distractor, _side(random) * SIDE, random.uniform(-180, 180))
        if piece is not None:
            x, y = (
                random.integers(0, room - own + 1)
                for room, own in ((width, piece.mask.shape[1]), (height, piece.mask.shape[0]))
            )
            paste(canvas, piece, int(x), int(y), random)
    for number, instrument in enumerate(instruments):
        piece = placed(instrument, _side(random) * SIDE, random.normal(0, 35))
        if piece is None:
            continue
        high, wide = piece.mask.shape
        for _ in range(20):
            x, y = int(random.integers(0, width - wide + 1)), int(random.integers(0, height - high + 1))
            box = np.array([x, y, x + wide, y + high], float)
            if (intersection(box, boxes) <= OVERLAP * np.minimum(area(boxes), wide * high)).all():
                paste(canvas, painted(piece, random), x, y, random)
                boxes[number] = box
                break
    for distractor in distractors[:over]:
        there = boxes[boxes[:, 2] > 0]
        if not len(there):
            break
        x0, y0, x1, y1 = there[random.integers(len(there))]
        side = random.uniform(0.3, 0.8) * min(x1 - x0, y1 - y0)
        piece = placed(distractor, max(6.0, side), random.uniform(-180, 180))
        if piece is not None:
            high, wide = piece.mask.shape
            x = int(np.clip(random.uniform(x0, x1) - wide / 2, 0, width - wide))
            y = int(np.clip(random.uniform(y0, y1) - high / 2, 0, height - high))
            paste(canvas, piece, x, y, random)
    return aged(canvas, random), boxes


def _side(random: np.random.Generator) -> float:
    return float(np.exp(random.uniform(*np.log(INSTRUMENT_SIDES))))


def _object(picture: Picture) -> np.ndarray:
    """The pixels of a photograph that its only region covers, (h, w, 3) uint8."""
    image, box = open_rgb(picture.path), picture.regions[0].box
    if box is None:
        return image
    x0, y0, x1, y1 = (round(side) for side in box)
    return image[y0:y1, x0:x1]


class Composed(NamedTuple):
    """One composite, and what it was made of.

    Attributes:
        picture: (h, w, 3) uint8 RGB.
        boxes: (n, 4) float; x0, y0, x1, y1 in its pixels, of no width where nothing is to be seen.
        photographs: n, one for each box.
        grounds: the paintings that it shows something of.
        unplain: how many photographs were passed over, for their ground is not plain.
    """

    picture: np.ndarray
    boxes: np.ndarray
    photographs: list[Picture]
    grounds: list[Picture]
    unplain: int


def composed(photographs: Sequence[Picture], grounds: Sequence[Picture], random: np.random.Generator) -> Composed:
    """Some instruments, drawn at random, pasted into a painting without any, among pieces of other paintings.

    Args:
        photographs: only those of one instrument each are used.
        grounds: at least one.
        random: decides.
    """
    chosen: list[tuple[Picture, Cutout]] = []
    wanted, unplain = int(random.choice(INSTRUMENTS)), 0
    for position in random.permutation(len(photographs)).tolist():
        if len(chosen) == wanted:
            break
        regions = photographs[position].regions
        if len(regions) != 1 or regions[0].difficult:
            continue
        cutout = cut_out(_object(photographs[position]))
        unplain += cutout is None
        if cutout is not None:
            chosen.append((photographs[position], cutout))
    below = grounds[int(random.integers(len(grounds)))]
    numbers = random.integers(len(grounds), size=random.integers(DISTRACTORS + 1))
    pieces = [grounds[number] for number in numbers.tolist()]
    distractors = [blob(open_rgb(piece.path), random) for piece in pieces]
    cutouts = [cutout for _, cutout in chosen]
    picture, boxes = composite(ground(open_rgb(below.path), random), cutouts, distractors, random)
    return Composed(picture, boxes, [source for source, _ in chosen], [below, *pieces], unplain)


def run(
    photographs: Sequence[Path], grounds_folder: Path, out: Path, count: int, format_name: str | None, seed: int
) -> None:
    """Write ``count`` composites as a COCO folder that `training.datasets.coco` reads, and a page to look at.

    Photographs and grounds are parted first, each composite is made of one part's, and says of which: nothing that is
    judged was learnt from. Photographs part as in `training.photographs` under the same seed.

    Raises:
        AnnotatorError: (USAGE) ``count`` is below 1, no photograph has plain ground, or there are too few pictures to
            part; (BAD_IMAGE) none can be read.
    """
    if count < 1:
        raise AnnotatorError(f"--count is {count}, it must be at least 1.", ExitCode.USAGE)
    sources = [picture for folder in photographs for picture in datasets.read(folder, format_name)]
    fingerprints = splits.readable(sources)
    parts = splits.split(list(fingerprints), list(fingerprints.values()), seed)
    empty = [Picture(path, path.name) for path in picture_files(grounds_folder)]
    if not empty:
        raise AnnotatorError(f"There are no pictures in {str(grounds_folder)!r}.", ExitCode.USAGE)
    ground_prints = splits.readable(empty)
    if len(ground_prints) < splits.FOLDS:
        raise AnnotatorError(
            f"{len(ground_prints)} pictures in {str(grounds_folder)!r} are too few to part into those that teach, "
            f"choose and judge: {splits.FOLDS} are the least. Add pictures without instruments.",
            ExitCode.USAGE,
        )
    ground_parts = splits.split(list(ground_prints), list(ground_prints.values()), seed)
    labels = labels_of(list(fingerprints))
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    (out / ANNOTATIONS).unlink(missing_ok=True)  # of composites that were here before: boxes of other pictures

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    number_of = {label: number for number, label in enumerate(labels, start=1)}
    held = round(HELD * count)
    which = ["training"] * (count - 2 * held) + ["development"] * held + ["test"] * held
    unplain, shown = 0, list[tuple[np.ndarray, np.ndarray]]()
    for number, part in enumerate(which):
        random = np.random.default_rng((seed, number))
        made = composed(getattr(parts, part), getattr(ground_parts, part), random)
        unplain += made.unplain
        name = f"{number:05d}.jpg"
        Image.fromarray(made.picture).save(out / IMAGES / name, quality=int(random.integers(70, 96)))
        if number < plots.SHEET_ROWS * plots.SHEET_COLUMNS:
            shown.append((made.picture, made.boxes))
        if (number + 1) % 100 == 0:
            print(f"{number + 1} of {len(which)} pictures composed", flush=True)
        used = {fingerprints[one].sha256 for one in made.photographs}
        used |= {ground_prints[one].sha256 for one in made.grounds}
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": made.picture.shape[1],
                "height": made.picture.shape[0],
                "split": part,
                "sources": sorted(used),
            }
        )
        for source, box in zip(made.photographs, made.boxes.tolist(), strict=True):
            if box[2] > box[0]:
                annotations.append(annotation(len(annotations) + 1, number, number_of[source.regions[0].label], box))
    if not annotations:
        raise AnnotatorError(
            "No instrument could be cut out: the photographs need plain ground. Add such photographs.", ExitCode.USAGE
        )
    write(out, images, number_of, annotations)
    plots.sheet(shown).save(out / "sheet.jpg", quality=85)
    print(
        f"{len(images)} pictures with {len(annotations)} instruments are in {out}; look at {out / 'sheet.jpg'}.",
        flush=True,
    )
    if unplain:
        print(f"{unplain} times a photograph was passed over, for its ground is not plain.", file=sys.stderr)
