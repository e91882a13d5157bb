"""Levels of the pyramid that are too large for one pass of the network: passed through it in blocks, same answers.

What a cell says depends on the pixels around it, as far as its receptive field reaches. So the outer cells of a block,
its halo, are thrown away and only its core is kept: there a block says what the whole level would. The halo of a whole
network is wide (13 cells of EfficientNet-Lite0), but that of its first layers, which need most memory and time, is
narrow. So these run first, on square blocks; the map that they give (stride 8, with fewer numbers than the picture has)
is put together and passed through the rest of the network in blocks as wide as the level and as high as memory allows.
Only levels beyond some 12,000 pixels are cut into bands of columns too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image

from annotator.detection import pyramid
from annotator.detection.windows import WIDEST, Level
from annotator.models.backbones import BACKBONES, STRIDE
from annotator.models.box_head import BOX_STRIDE
from annotator.models.bundle import Model
from annotator.models.fused import fused
from annotator.prefetch import prefetched

FINE_STRIDE = 8  # pixels between cells of the map that the first layers give
FINE_HALO = 2  # cells of STRIDE pixels that the first layers see on each side of one
HALO = 13  # the same for the whole network: of all backbones, EfficientNet-Lite0 sees the farthest
BOX_HALO = 18  # the same for its box head
FINE_SIDE = 64  # cells: height and width of a block of pixels
CELLS = 32_000  # that go through the deeper layers together
BAND = 384  # cells: a wider level is cut into bands of columns

Size = tuple[int, int]  # width and height
Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1, half-open


@dataclass(frozen=True)
class Finer:
    """The levels of a picture beyond `pyramid.SCAN_SIDE`, and where their pixels come from.

    Attributes:
        sizes: width and height of each level in pixels.
        read: the pixels of a rectangle (x0, y0, x1, y1) of a level, given the level's size and the rectangle:
            (y1 - y0, x1 - x0, 3) uint8 RGB. One call at a time, in whatever thread.
    """

    sizes: Sequence[Size]
    read: Callable[[Size, Rectangle], np.ndarray]


def in_memory(image: np.ndarray, longest_side: int) -> Finer:
    """The finer levels of a picture that lies in memory at full resolution.

    Args:
        image: (h, w, 3) uint8 RGB.
        longest_side: pixels on it that may be looked at.
    """
    picture = Image.fromarray(image)

    def read(size: Size, rectangle: Rectangle) -> np.ndarray:
        x0, y0, x1, y1 = rectangle
        across, down = picture.width / size[0], picture.height / size[1]
        box = (x0 * across, y0 * down, min(x1 * across, picture.width), min(y1 * down, picture.height))
        return np.asarray(picture.resize((x1 - x0, y1 - y0), Image.Resampling.LANCZOS, box=box))

    return Finer(pyramid.finer_sizes(picture.width, picture.height, longest_side), read)


class Span(NamedTuple):
    """A block in one direction, in cells of the level: where it begins and ends, and its core, where it is right."""

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, size: int, halo: int, shared: int = 0) -> list[Span]:
    """Blocks of equal size whose cores cover a length: as few as can be, and no larger than need be.

    Where a block ends at the level's border its core does too: there the whole level ends as well.

    Args:
        length: of the level in cells.
        size: of a block at the most, more than twice the halo and the shared cells.
        halo: cells at a block's ends that are not its core.
        shared: cells at least that a core has in common with the one before it.

    Returns:
        At least one block, in order.
    """
    lost = 2 * halo + shared
    count = max(1, math.ceil((length - lost) / (size - lost)))
    size = min(length, math.ceil((length + (count - 1) * lost) / count))
    found = [Span(0, size, 0, length if size == length else size - halo)]
    while found[-1].stop < length:
        start = min(found[-1].last - shared - halo, length - size)
        stop = start + size
        found.append(Span(start, stop, start + halo, length if stop == length else stop - halo))
    return found


def fine_rows(
    shallow: keras.Model, read: Callable[[Rectangle], np.ndarray], rows: int, columns: int
) -> Iterator[np.ndarray]:
    """The map that the first layers give, from top to bottom.

    Args:
        shallow: pixels (n, h, w, 3) to the map (n, h/FINE_STRIDE, w/FINE_STRIDE, channels).
        read: the pixels of a rectangle, in cells.
        rows: of the level, in cells.
        columns: the same.

    Yields:
        The next rows, (any, columns * STRIDE / FINE_STRIDE, channels).
    """
    down, across = spans(rows, FINE_SIDE, FINE_HALO), spans(columns, FINE_SIDE, FINE_HALO)
    pixels = prefetched(read((x.start, y.start, x.stop, y.stop)) for y in down for x in across)
    each, done = STRIDE // FINE_STRIDE, 0
    for y in down:
        strip = np.empty(((y.last - done) * each, columns * each, shallow.output_shape[-1]), np.float32)
        new, known = slice((done - y.start) * each, (y.last - y.start) * each), 0
        for x in across:
            block = shallow.predict_on_batch(next(pixels)[None])[0]
            strip[:, known * each : x.last * each] = block[new, (known - x.start) * each : (x.last - x.start) * each]
            known = x.last
        yield strip
        done = y.last


def reads(model: Model, sizes: Sequence[Size]) -> int:
    """How often `levels` reads pixels for levels of these sizes."""
    found = 0
    for width, height in sizes:
        down = len(spans(-(-height // STRIDE), FINE_SIDE, FINE_HALO))
        found += sum(down * len(spans(band.stop - band.start, FINE_SIDE, FINE_HALO)) for band in _bands(model, width))
    return found


def _bands(model: Model, width: int) -> list[Span]:
    return spans(-(-width // STRIDE), BAND, _halo(model), WIDEST - 1)


def _halo(model: Model) -> int:
    return BOX_HALO if model.has_boxes else HALO


def levels(model: Model, finer: Finer) -> Iterator[tuple[int, int, Iterator[Level]]]:
    """Passes of the network over the finer levels of a picture.

    Args:
        model: the model.
        finer: the levels.

    Yields:
        Width and height of each level in pixels, and its parts, with the answers that one pass over the whole level
        would give. They cover the level, and every window lies whole in one of them.
    """
    shallow, deep = _halves(model.network, BACKBONES[model.configuration.backbone].shallower[0])
    for width, height in finer.sizes:
        yield width, height, _parts(model, shallow, deep, finer, width, height)


@lru_cache(maxsize=1)  # compiled once for all pictures of a job
def _halves(network: keras.Model, layer: str) -> tuple[keras.Model, keras.Model]:
    middle = network.get_layer(layer).output
    return fused(keras.Model(network.input, middle)), fused(keras.Model(middle, network.output))


def _rows_of_each(blocks: Sequence[Span], strips: Iterator[np.ndarray]) -> Iterator[tuple[Span, np.ndarray]]:
    """Each block with its rows of the map of `fine_rows`; what neither it nor a later one needs is not held."""
    each = STRIDE // FINE_STRIDE
    held, top = next(strips), 0
    for block in blocks:
        wanted = (block.stop - block.start) * each
        pieces = [held[(block.start - top) * each :]]
        while sum(map(len, pieces)) < wanted:
            pieces.append(next(strips))
        held, top = np.concatenate(pieces), block.start
        del pieces
        yield block, held[:wanted]


def _parts(
    model: Model, shallow: keras.Model, deep: keras.Model, finer: Finer, width: int, height: int
) -> Iterator[Level]:
    colour = BACKBONES[model.configuration.backbone].preprocessing.grey
    halo, rows = _halo(model), -(-height // STRIDE)
    boxes_each = STRIDE // BOX_STRIDE
    right = 0  # where the columns end that earlier bands had
    for band in _bands(model, width):

        def read(cells: Rectangle, left: int = band.start) -> np.ndarray:
            x0, y0, x1, y1 = (side * STRIDE for side in cells)
            x0, x1 = x0 + left * STRIDE, x1 + left * STRIDE
            pixels = finer.read((width, height), (x0, y0, min(x1, width), min(y1, height)))
            return pyramid.pad(pixels, STRIDE, colour)

        wide = band.stop - band.start
        down = spans(rows, max(CELLS // wide, 2 * halo + 1), halo)
        done = 0  # rows that earlier blocks had
        kept: list[np.ndarray] = []
        for block, fine in _rows_of_each(down, fine_rows(shallow, read, rows, wide)):
            said = deep.predict_on_batch(fine[None])
            every_logit, every_box = said if model.has_boxes else (said, None)
            new, end = done - block.start, block.last - block.start
            fresh = every_logit[0, new:end, band.first - band.start : band.last - band.start]
            logits = np.concatenate([*kept, fresh])
            known_rows = len(logits) - len(fresh)
            logits[known_rows:] /= model.configuration.temperature
            boxes = None
            if every_box is not None:
                own = every_box[0, new * boxes_each : end * boxes_each]
                boxes = own[:, (right - band.start) * boxes_each : (band.last - band.start) * boxes_each]
            del fine, said, every_logit, fresh  # large, while whoever gets the part has not even begun
            yield Level(logits, width, height, boxes, band.first, done - known_rows, right - band.first, known_rows)
            kept, done = [logits[-(WIDEST - 1) :].copy()], block.last
        right = band.last
