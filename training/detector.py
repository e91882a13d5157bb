"""Train a detector on pictures whose boxes are known: parts of the levels of their pyramids.

The box head learns on what the frozen backbone sees, after the label head (`training.feedback`). In mode full all
layers and both heads go on from there, the label head from windows, as the scan reads it: the mean logits of the
cells that an object's box covers, and of windows that lie away from every object, of which only the hardest count
(online hard example mining, Shrivastava et al. 2016). They are people, hands and drapery: what a detector of
photographs takes for instruments.

The box head learns cell by cell. A cell answers for an object whose middle is near and whose size is about that of the
cell's window. What it learns as objectness is how well its own box will fit, so that of two boxes on one object the
better one wins (generalised focal loss, Li et al. 2020); the box learns by generalised intersection over union
(Rezatofighi et al. 2019).
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image, ImageEnhance

from annotator.detection import pyramid
from annotator.detection.boxes import area, intersection
from annotator.models.backbones import BACKBONES, STRIDE
from annotator.models.box_head import BOX_STRIDE, WINDOW
from annotator.models.bundle import Label, Model
from annotator.models.fused import fused
from annotator.prefetch import prefetched
from training import devices, loop
from training.datasets.pictures import Box, Picture, read_shrunk
from training.head import membership
from training.samples import touches

CROP = 320  # pixels of the square parts of levels that are learnt from
BATCH = 16
PARTS = 8  # of each picture, that the box head alone learns from
SEEN, SEEN_BATCH = 8000, 32  # of all pictures at the most, and how many at a time
STRIDES = (8, BOX_STRIDE, STRIDE)  # of the feature maps that it reads
CENTRE = 0.25  # share of a box's width and height, to each side of its middle, where cells answer for it
MATCHING = 0.75  # octaves: how far an object's size may be from the window's for a cell to answer for it
DOUBTFUL = 1.25  # octaves: up to here a cell need not know whether the object is its own
RATE = 2e-3  # of AdamW, for the box head; a tenth where all layers learn
WARM_UP, DECAY = 100, 1e-2  # steps; weight decay
PATIENCE = 4  # epochs without gain after which training ends
OBJECT_FIRST = 0.7  # share of crops that are chosen to show an object of the right size
BETA = 2.0  # of the focal loss
BOX_WEIGHT = 2.0
OBJECTS = 4  # objects of a part that are named, the first
NEGATIVE_SIDES = (3, 4, 5)  # cells: heights and widths of the windows that may show nothing
VISIBLE = 0.6  # share of an object that lies in the part, if it is to be named
HARD = 4  # windows without an instrument that count, for each part of a batch, the hardest


def targets(boxes: np.ndarray, difficult: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """What each cell of the box head should say.

    Args:
        boxes: (k, 4) x0, y0, x1, y1 in pixels of the level's part.
        difficult: (k,) bool: what cells inside say is neither right nor wrong.
        rows: of the map.
        columns: of the map.

    Returns:
        (rows, columns, 5) float32: 1 for a cell that answers for an object, 0 for none, -1 where it does not matter;
        then the object's x0, y0, x1, y1 in pixels from the middle of the cell.
    """
    found = np.zeros((rows, columns, 5), np.float32)
    y, x = (np.mgrid[:rows, :columns] + 0.5) * BOX_STRIDE
    octaves = _octaves(boxes)
    for i in np.argsort(-area(boxes), kind="stable"):  # where two objects claim a cell, the smaller one has it
        x0, y0, x1, y1 = boxes[i]
        if difficult[i]:
            inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
            found[inside, 0] = -1
            continue
        reach_x, reach_y = (max(CENTRE * side, BOX_STRIDE / 2 + 0.01) for side in (x1 - x0, y1 - y0))
        own = (np.abs(x - (x0 + x1) / 2) <= reach_x) & (np.abs(y - (y0 + y1) / 2) <= reach_y)
        if octaves[i] <= MATCHING:
            found[own, 0] = 1
            found[own, 1:] = np.stack([x0 - x, y0 - y, x1 - x, y1 - y], axis=-1)[own]
        elif octaves[i] <= DOUBTFUL:
            found[own & (found[..., 0] == 0), 0] = -1
    return found


def _octaves(boxes: np.ndarray) -> np.ndarray:
    """How far from the window's size boxes (k, 4) are, up or down: (k,)."""
    return np.abs(np.log2(np.sqrt(np.maximum(area(boxes), 1)) / WINDOW))


def box_loss(wanted: Any, said: Any) -> Any:
    """The loss of the box head.

    Args:
        wanted: (n, rows, columns, 5) of `targets`.
        said: (n, rows, columns, 5) of the network.

    Returns:
        (n,) float32; their mean is the loss of all cells, divided by how many answer for an object.
    """
    answers = ops.cast(ops.equal(wanted[..., 0], 1), "float32")
    matters = ops.cast(ops.not_equal(wanted[..., 0], -1), "float32")
    a, b = wanted[..., 1:], said[..., 1:]

    def area(boxes: Any) -> Any:
        return ops.prod(ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)

    shared = area(ops.concatenate([ops.maximum(a[..., :2], b[..., :2]), ops.minimum(a[..., 2:], b[..., 2:])], axis=-1))
    hull = area(ops.concatenate([ops.minimum(a[..., :2], b[..., :2]), ops.maximum(a[..., 2:], b[..., 2:])], axis=-1))
    union = area(a) + area(b) - shared
    overlap = shared / ops.maximum(union, 1.0)
    misfit = 1 - overlap + (hull - union) / ops.maximum(hull, 1.0)

    quality = answers * ops.stop_gradient(overlap)
    logit = said[..., 0]
    entropy = ops.maximum(logit, 0.0) - logit * quality + ops.log1p(ops.exp(-ops.abs(logit)))
    focus = ops.abs(quality - ops.sigmoid(logit)) ** BETA
    losses = matters * focus * entropy + BOX_WEIGHT * answers * misfit
    count = ops.maximum(ops.sum(answers) / ops.cast(ops.shape(wanted)[0], "float32"), 1.0)
    return ops.sum(losses, axis=(1, 2)) / count


def _negative_windows() -> np.ndarray:
    """(m, 4) windows on the cells of a part, x0, y0, x1, y1: those of `NEGATIVE_SIDES` at every other cell."""
    cells = CROP // STRIDE
    return np.array(
        [
            (x, y, x + width, y + height)
            for height in NEGATIVE_SIDES
            for width in NEGATIVE_SIDES
            for y in range(0, cells - height + 1, 2)
            for x in range(0, cells - width + 1, 2)
        ]
    )


NEGATIVES = _negative_windows()


def window_targets(boxes: np.ndarray, labels: np.ndarray, matters: np.ndarray, inside: Box) -> np.ndarray:
    """Windows of a part and what each shows.

    Args:
        boxes: (k, 4) in pixels of the part.
        labels: (k,) positions of their labels.
        matters: (k,) bool: whether the object is of the right size, in sight and not difficult.
        inside: x0, y0, x1, y1 of the picture in pixels of the part: beyond there is nothing to see.

    Returns:
        (OBJECTS + m, 5) int32: windows x0, y0, x1, y1 in cells, and the label: -1 shows no instrument, -2 does not
        count.
    """
    cells = CROP // STRIDE
    found = np.full((OBJECTS + len(NEGATIVES), 5), -2, np.int32)
    found[:, :4] = [0, 0, 1, 1]
    for row, i in zip(found, np.flatnonzero(matters), strict=False):
        low = np.clip(np.rint(boxes[i, :2] / STRIDE), 0, cells - 1)
        row[:2], row[2:4] = low, np.clip(np.rint(boxes[i, 2:] / STRIDE), low + 1, cells)
        row[4] = labels[i]
    windows = NEGATIVES * float(STRIDE)
    seen = intersection(windows, np.array(inside)) > 0.5 * area(windows)
    found[OBJECTS:, :4] = NEGATIVES
    found[OBJECTS:, 4] = np.where(seen & ~touches(windows, boxes), -1, -2)
    return found


def window_loss(class_labels: Sequence[int]) -> Any:
    """The loss of the label head, for Keras: of `window_targets` (n, r, 5) and logits (n, rows, columns, classes).

    Its value (n,) has as mean the mean loss of the objects plus that of the hardest windows without one.
    """
    positions = np.array(class_labels)
    rows = np.where(membership(positions, int(positions.max()) + 1), 0.0, -1e9).astype(np.float32)

    def loss(wanted: Any, logits: Any) -> Any:
        count, cells = ops.shape(logits)[0], CROP // STRIDE
        wanted = ops.cast(wanted, "int32")
        place = ops.arange(cells)

        def covered(low: Any, high: Any) -> Any:  # (n, r, cells), rows that add up to 1
            inside = ops.logical_and(place >= low[..., None], place < high[..., None])
            return ops.cast(inside, "float32") / ops.cast(high - low, "float32")[..., None]

        x, y = covered(wanted[..., 0], wanted[..., 2]), covered(wanted[..., 1], wanted[..., 3])
        pooling = ops.reshape(y[..., :, None] * x[..., None, :], (count, -1, cells * cells))
        means = pooling @ ops.cast(ops.reshape(logits, (count, cells * cells, -1)), "float32")
        labels = wanted[..., 4]
        own = ops.take(ops.convert_to_tensor(rows), ops.maximum(labels, -1) + 1, axis=0)
        losses = ops.logsumexp(means, axis=-1) - ops.logsumexp(means + own, axis=-1)

        objects = ops.cast(labels >= 0, "float32")
        of_objects = ops.sum(objects * losses) / ops.maximum(ops.sum(objects), 1.0)
        empty = ops.reshape(ops.where(ops.equal(labels, -1), losses, 0.0), (-1,))
        hardest = ops.top_k(empty, HARD * count)[0]
        of_empty = ops.mean(hardest)
        return ops.broadcast_to(ops.reshape(of_objects + of_empty, (1,)), (count,))

    return loss


def level_part(
    image: np.ndarray, boxes: np.ndarray, colour: tuple[int, int, int], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Box]:
    """A random square part of a random level of a picture's pyramid, flipped and recoloured at random.

    Args:
        image: (h, w, 3) uint8 RGB.
        boxes: (k, 4) in its pixels.
        colour: of what lies outside the picture.
        random: decides.

    Returns:
        (CROP, CROP, 3) uint8; the boxes (k, 4) in its pixels, also of objects outside it; and the picture's
            own box there.
    """
    height, width = image.shape[:2]
    sides = [max(size) for size in pyramid.level_sizes(width, height)]
    middle = None
    if len(boxes) and random.random() < OBJECT_FIRST:
        box = boxes[random.integers(len(boxes))]
        size = max(1.0, float(np.sqrt(np.prod(box[2:] - box[:2])))) / max(width, height)
        fitting = [side for side in sides if abs(math.log2(side * size / WINDOW)) <= MATCHING]
        if fitting:
            sides, middle = fitting, (box[:2] + box[2:]) / 2
    scale = sides[random.integers(len(sides))] / max(width, height) * math.exp(random.uniform(-0.17, 0.17))

    # The part's corner in pixels of the level; up to a quarter of it may lie outside.
    level = np.array([width, height]) * scale
    if middle is None:
        low, high = np.minimum(-CROP / 4, level - CROP), np.maximum(level - 0.75 * CROP, 0)
        corner = random.uniform(np.minimum(low, 0), np.maximum(high, 0))
    else:
        corner = middle * scale - random.uniform(0.2, 0.8, 2) * CROP
    part = Image.fromarray(_part_of(image, corner / scale, CROP / scale, colour))
    part = part.resize((CROP, CROP), Image.Resampling.BILINEAR, reducing_gap=2.0)
    moved = np.concatenate([boxes, [[0, 0, width, height]]]) * scale - np.tile(corner, 2)
    if random.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        moved = np.stack([CROP - moved[:, 2], moved[:, 1], CROP - moved[:, 0], moved[:, 3]], axis=1)
    for enhance, spread in ((ImageEnhance.Brightness, 0.25), (ImageEnhance.Contrast, 0.25), (ImageEnhance.Color, 0.5)):
        part = enhance(part).enhance(float(np.exp(random.uniform(-spread, spread))))
    x0, y0, x1, y1 = moved[-1].tolist()
    return np.asarray(part), moved[:-1], (x0, y0, x1, y1)


def _part_of(image: np.ndarray, corner: np.ndarray, side: float, colour: tuple[int, int, int]) -> np.ndarray:
    """A square part of a picture, ``colour`` where it reaches beyond."""
    height, width = image.shape[:2]
    x, y = (round(value) for value in corner)
    size = max(1, round(side))
    part = np.empty((size, size, 3), np.uint8)
    part[...] = colour
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + size, width), min(y + size, height)
    if x1 > x0 and y1 > y0:
        part[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
    return part


class LevelParts(keras.utils.PyDataset):
    """Batches of parts of levels, and what the box head should say there.

    Args:
        pictures: what is learnt from.
        order: (k,) positions among them.
        labels: what the model can name, among them all of theirs.
        colour: of what lies outside a picture.
        seed: of the choice of parts, with the epoch and the position.
        epoch: its number.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        order: np.ndarray,
        labels: Sequence[Label],
        colour: tuple[int, int, int],
        seed: int,
        epoch: int,
    ) -> None:
        super().__init__(workers=2, max_queue_size=4)
        self.pictures, self.order, self.colour, self.seed, self.epoch = pictures, order, colour, seed, epoch
        self.position_of = {label: number for number, label in enumerate(labels)}

    def __len__(self) -> int:
        return math.ceil(len(self.order) / BATCH)

    def __getitem__(self, number: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        chosen = self.order[number * BATCH : (number + 1) * BATCH]
        cells = CROP // BOX_STRIDE
        parts = np.empty((len(chosen), CROP, CROP, 3), np.uint8)
        windows = np.empty((len(chosen), OBJECTS + len(NEGATIVES), 5), np.int32)
        wanted = np.empty((len(chosen), cells, cells, 5), np.float32)
        for row, position in enumerate(chosen):
            picture = self.pictures[position]
            image, width, _ = read_shrunk(picture.path)
            boxes = np.array([region.box for region in picture.regions], float).reshape(-1, 4)
            difficult = np.array([region.difficult for region in picture.regions], bool)
            labels = np.array([self.position_of.get(region.label, -2) for region in picture.regions], int)
            random = np.random.default_rng((self.seed, self.epoch, number, row))
            parts[row], moved, inside = level_part(image, boxes * (image.shape[1] / width), self.colour, random)
            wanted[row] = targets(moved, difficult, cells, cells)
            visible = intersection(moved, np.array([0, 0, CROP, CROP])) >= VISIBLE * area(moved)
            windows[row] = window_targets(moved, labels, visible & ~difficult & (_octaves(moved) <= DOUBTFUL), inside)
        return parts, (windows, wanted)


class SeenParts(keras.utils.PyDataset):
    """Batches of what the backbone sees in parts of levels, computed once and kept in files.

    Args:
        maps: for each feature map that the box head reads, (n, rows, columns, channels) float16.
        wanted: (n, rows, columns, 5) of `targets`.
        order: (n,) in which they come.
    """

    def __init__(self, maps: Sequence[np.ndarray], wanted: np.ndarray, order: np.ndarray) -> None:
        super().__init__(workers=2, max_queue_size=4)
        self.maps, self.wanted, self.order = maps, wanted, order

    def __len__(self) -> int:
        return math.ceil(len(self.order) / SEEN_BATCH)

    def __getitem__(self, number: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        chosen = np.sort(self.order[number * SEEN_BATCH : (number + 1) * SEEN_BATCH])  # sorted: read file in order
        return tuple(own[chosen].astype(np.float32) for own in self.maps), self.wanted[chosen]


def _look(
    model: Model, pictures: Sequence[Picture], count: int, folder: Path, name: str, seed: int
) -> tuple[Sequence[np.ndarray], np.ndarray]:
    """What the backbone sees in ``count`` parts of levels, in files of ``folder``, and what the box head should say."""
    trunk = fused(keras.Model(model.network.input, box_head_inputs(model)))
    order = np.resize(np.random.default_rng(seed).permutation(len(pictures)), count)
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    parts = LevelParts(pictures, order, model.labels, colour, seed, 0)
    shapes = [
        (count, *(CROP // stride,) * 2, tensor.shape[-1]) for stride, tensor in zip(STRIDES, trunk.outputs, strict=True)
    ]
    paths = [folder / f"{name}_{stride}" for stride in STRIDES]
    wanted = np.empty((count, CROP // BOX_STRIDE, CROP // BOX_STRIDE, 5), np.float32)
    with contextlib.ExitStack() as stack:
        # Written, not mapped: on a full disk a write fails with a reason, where a map would end the process.
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for number, (pixels, (_, boxes)) in enumerate(prefetched(parts[i] for i in range(len(parts)))):
            rows = slice(number * BATCH, number * BATCH + len(pixels))
            for file, seen in zip(files, trunk.predict_on_batch(pixels), strict=True):
                file.write(seen.astype(np.float16).tobytes())
            wanted[rows] = boxes
            if number % 50 == 0 or rows.stop == count:
                print(f"{rows.stop} of {count} parts seen to {name} by", flush=True)
    return [np.memmap(path, np.float16, "r", shape=shape) for path, shape in zip(paths, shapes, strict=True)], wanted


def box_head_inputs(model: Model) -> list[keras.KerasTensor]:
    """The feature maps of strides 8, 16 and 32 that a model's box head reads."""
    names = BACKBONES[model.configuration.backbone].shallower
    return [*(model.network.get_layer(name).output for name in names), model.network.get_layer("head").input]


def train_box_head(
    model: Model, training: Sequence[Picture], development: Sequence[Picture], folder: Path, *, seed: int, epochs: int
) -> None:
    """Train the box head in place and leave all else as it is; keep the epoch that development likes best.

    The backbone looks once at `PARTS` parts of each picture, of at most `SEEN`; then an epoch takes a minute on two
    processor cores.

    Args:
        model: with a box head, whose weights are changed.
        training: pictures all of whose instruments have boxes.
        development: pictures that are never learnt from.
        folder: where progress is kept, so that a killed training goes on, and while it lasts some gigabytes of maps.
        seed: of the choice of parts.
        epochs: at the most.
    """
    for left in folder.glob("seen-*"):  # by a run that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="seen-", dir=folder) as cache:
        count, held_count = (min(PARTS * len(own), most) for own, most in ((training, SEEN), (development, SEEN // 8)))
        seen, wanted = _look(model, training, count, Path(cache), "learn", seed)
        held = _look(model, development, held_count, Path(cache), "choose", seed + 1)

        def batches_of(epoch: int) -> SeenParts:
            return SeenParts(seen, wanted, np.random.default_rng((seed, epoch)).permutation(count))

        chosen = SeenParts(*held, np.arange(held_count))
        head = keras.Model(box_head_inputs(model), model.network.outputs[1])
        with devices.training_copy(head) as network:
            network.compile(_optimizer(RATE, epochs * math.ceil(count / SEEN_BATCH)), box_loss)
            loop.train(network, batches_of, chosen, folder, epochs=epochs, patience=PATIENCE, seed=seed)


def _optimizer(rate: float, steps: int) -> keras.optimizers.Optimizer:
    """Adam with a rate that rises over the first steps and falls to nothing at the last (Loshchilov & Hutter 2017)."""
    rise = min(WARM_UP, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(0.0, max(1, steps - rise), warmup_target=rate, warmup_steps=rise)
    return keras.optimizers.AdamW(schedule, weight_decay=DECAY)


def train_all(
    model: Model, training: Sequence[Picture], development: Sequence[Picture], folder: Path, *, seed: int, epochs: int
) -> None:
    """Train all but batch normalisation in place, both heads and the backbone; keep the epoch that development likes.

    Args:
        model: with a box head; its weights are changed.
        training: pictures all of whose instruments have boxes.
        development: pictures that are never learnt from.
        folder: where progress is kept, so that a killed training goes on.
        seed: of the choice of parts.
        epochs: at the most.
    """
    for layer in model.network.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    losses = [window_loss(model.configuration.class_labels), box_loss]
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey

    def batches_of(epoch: int) -> LevelParts:
        order = np.random.default_rng((seed, epoch)).permutation(len(training))
        return LevelParts(training, order, model.labels, colour, seed, epoch)

    held = LevelParts(development, np.arange(len(development)).repeat(2), model.labels, colour, seed, epochs)
    with devices.training_copy(model.network) as network:
        network.compile(_optimizer(RATE / 10, epochs * math.ceil(len(training) / BATCH)), losses)
        loop.train(network, batches_of, held, folder, epochs=epochs, patience=PATIENCE, seed=seed)
