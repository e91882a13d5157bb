"""Fast style transfer (Johnson et al. 2016): a network that has learnt one style restyles a picture in one pass."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
from keras import ops
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import open_rgb, stems
from annotator.prefetch import prefetched
from training import devices, loop, plots, runs
from training.style.clusters import style_files
from training.style.gatys import check_least, scaled, style_picture
from training.style.loss import loss_network, terms_of

WIDTHS, BLOCKS = (32, 64, 128), 5  # channels at full, half and quarter size; residual blocks
BATCH, RATE = 4, 1e-3  # of Adam
EPOCH = 100  # batches after which progress is kept
HELD = 16  # pictures that are not learnt from, at the most a tenth
LEAST = 10  # pictures to learn from and to hold
NETWORK, STYLE = "network.safetensors", "style"  # files of a finished training; the style's has its own suffix
STEP = 4  # the network halves a picture twice


@dataclass(frozen=True)
class Settings:
    """What a training was asked for; kept in its folder as ``config.json``.

    Attributes:
        images: folder of any pictures, whose contents are learnt on.
        style: file of the picture whose style is learnt.
        network: that the loss is read from, a key of `representation.STYLE_LAYERS`.
        weights: see `representation.feature_network`.
        size: side in pixels of the squares that are learnt on.
        batches: how many, of `BATCH` pictures.
        style_weight: how much style counts against content; see `loss.terms_of`.
        variation_weight: how much smoothness counts.
        seed: of everything random.
    """

    images: str
    style: str
    network: str
    weights: str
    size: int
    batches: int
    style_weight: float
    variation_weight: float
    seed: int


def transform_network() -> keras.Model:
    """The network, with random weights: two halvings, five residual blocks, two doublings.

    As the paper's, with instance normalisation (Ulyanov et al. 2016), convolutions after nearest-neighbour doubling
    instead of transposed ones, which leave a checkerboard (Odena et al. 2016), and mirrored borders.

    Returns:
        From RGB pixels in 0..255, (n, h, w, 3) float with h and w multiples of 4, to the same.
    """

    def convolved(tensor: Any, channels: int, size: int, stride: int = 1) -> Any:
        border = size // 2
        tensor = ops.pad(tensor, ((0, 0), (border, border), (border, border), (0, 0)), mode="reflect")
        return keras.layers.Conv2D(channels, size, stride)(tensor)

    def normalised(tensor: Any) -> Any:
        return keras.layers.GroupNormalization(groups=-1)(tensor)

    pixels = keras.Input((None, None, 3), name="pixels")
    tensor = pixels / 127.5 - 1
    for channels, size, stride in zip(WIDTHS, (9, 3, 3), (1, 2, 2), strict=True):
        tensor = ops.relu(normalised(convolved(tensor, channels, size, stride)))
    for _ in range(BLOCKS):
        inner = ops.relu(normalised(convolved(tensor, WIDTHS[-1], 3)))
        tensor = tensor + normalised(convolved(inner, WIDTHS[-1], 3))
    for channels in WIDTHS[-2::-1]:
        doubled = keras.layers.UpSampling2D(2, interpolation="nearest")(tensor)
        tensor = ops.relu(normalised(convolved(doubled, channels, 3)))
    return keras.Model(pixels, (ops.tanh(convolved(tensor, 3, 9)) + 1) * 127.5)


class Learning(keras.Model):
    """A transform network whose loss is a function of its output and its input.

    Args:
        network: of `transform_network`.
        loss: from restyled pixels and pixels, (n, h, w, 3) each, to a scalar.
    """

    def __init__(self, network: keras.Model, loss: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.network = network
        self.restyled_loss = loss

    def call(self, pixels: Any) -> Any:
        """The restyled pixels."""
        return self.network(pixels)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of a batch."""
        return self.restyled_loss(y_pred, x)


class Squares(keras.utils.PyDataset):
    """Batches of square parts of pictures, float32 in 0..255.

    Args:
        files: (k,) of pictures, in the order in which they are read.
        size: side of the squares in pixels.
        seed: of which part of a picture, with its position; None for the largest in the middle.
    """

    def __init__(self, files: Sequence[Path], size: int, seed: tuple[int, ...] | None) -> None:
        super().__init__(workers=1, max_queue_size=4)
        self.files, self.size, self.seed = files, size, seed

    def __len__(self) -> int:
        return math.ceil(len(self.files) / BATCH)

    def __getitem__(self, number: int) -> tuple[np.ndarray]:
        chosen = range(number * BATCH, min((number + 1) * BATCH, len(self.files)))
        return (np.stack([self._square(position) for position in chosen]),)

    def _square(self, position: int) -> np.ndarray:
        image = open_rgb(self.files[position])
        height, width = image.shape[:2]
        side, x, y = float(min(height, width)), 0.5, 0.5
        if self.seed is not None:
            share, x, y = np.random.default_rng((*self.seed, position)).uniform((0.6, 0, 0), 1)
            side *= share
        left, top = x * (width - side), y * (height - side)
        part = Image.fromarray(image).resize(
            (self.size, self.size), Image.Resampling.LANCZOS, (left, top, left + side, top + side)
        )
        return np.asarray(part, np.float32)


def run(settings: Settings, out: Path) -> keras.Model:
    """Train a network for one style and leave it in ``out/network.safetensors``, with a copy of the style's file.

    Beside them ``log.csv`` and ``curves.png`` show the loss, and ``sheet.jpg`` pictures that were not learnt from, each
    before its restyled copy. A training that was stopped goes on when it is started again with the same settings.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE, BAD_MODEL) a setting is out of range; there are too few pictures; the style
            cannot be read or is too small; there is no such network; the folder holds another run.
    """
    check_least(settings, size=64, batches=1, style_weight=0, variation_weight=0)
    size = settings.size // STEP * STEP
    style = style_picture(Path(settings.style))
    files = [file for file in style_files(Path(settings.images)) if _readable(file)]
    if len(files) < LEAST:
        raise AnnotatorError(
            f"{len(files)} pictures in {settings.images!r} are too few to learn on: {LEAST} are the least, thousands "
            "are good.",
            ExitCode.USAGE,
        )
    devices.prepare(settings.seed)
    frozen = loss_network(settings.network, settings.weights)
    runs.claim(out, settings)
    order = np.random.default_rng(settings.seed).permutation(len(files))
    held = [files[i] for i in order[: min(HELD, len(files) // 10)]]
    learnt = [files[i] for i in order[len(held) :]]
    terms = terms_of(frozen, scaled(style, size), (settings.style_weight, settings.variation_weight))
    network = transform_network()
    learning = Learning(network, lambda restyled, pixels: ops.sum(terms(restyled, frozen(pixels)[-1])))
    learning.compile(keras.optimizers.Adam(RATE), jit_compile=False)
    learning(np.zeros((1, size, size, 3), np.float32))  # so that the weights are there

    def batches_of(epoch: int) -> Squares:
        count = min(EPOCH, settings.batches - epoch * EPOCH) * BATCH
        chosen = np.random.default_rng((settings.seed, epoch)).integers(len(learnt), size=count)
        return Squares([learnt[i] for i in chosen], size, (settings.seed, epoch))

    epochs = math.ceil(settings.batches / EPOCH)
    loop.train(
        learning,
        batches_of,
        Squares(held, size, None),
        out,
        epochs=epochs,
        patience=epochs,
        seed=settings.seed,
    )
    save(network, out / NETWORK)
    (out / STYLE).with_suffix(Path(settings.style).suffix).write_bytes(Path(settings.style).read_bytes())
    plots.curves(out / loop.LOG, out / "curves.png")
    pictures = [open_rgb(file) for file in held[: plots.SHEET_PAIRS]]
    pairs = list(zip(pictures, restyled(network, pictures), strict=True))
    plots.sheet_of_pairs(pairs).save(out / "sheet.jpg", quality=90)
    print(f"The network is {out / NETWORK}; look at {out / 'sheet.jpg'}.", flush=True)
    return network


def _readable(file: Path) -> bool:
    """Whether a file is a picture, as far as its first bytes say."""
    try:
        with Image.open(file):
            return True
    except OSError:
        return False


def save(network: keras.Model, path: Path) -> None:
    """Write the weights of a transform network."""
    values = {str(number): np.asarray(weight) for number, weight in enumerate(network.weights)}
    runs.write_whole(path, safetensors.numpy.save(values))


def load(folder: Path) -> keras.Model:
    """The transform network of a training's folder.

    Raises:
        AnnotatorError: (BAD_MODEL) there is none, or it is damaged.
    """
    network = transform_network()
    try:
        values = safetensors.numpy.load_file(folder / NETWORK)
        network.set_weights([values[str(number)] for number in range(len(network.weights))])
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise AnnotatorError(
            f"There is no style network in {str(folder)!r}: {error}. Give the folder of a finished train-fast.",
            ExitCode.BAD_MODEL,
        ) from error
    return network


def restyled(network: keras.Model, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pictures in the network's style, in batches of those that follow each other and have one size.

    Args:
        network: of `transform_network`.
        pictures: each (h, w, 3) uint8; made in another thread while the network works.

    Yields:
        (h, w, 3) uint8 each.
    """
    for batch in prefetched(_of_one_size(pictures)):
        height, width = batch.shape[1:3]
        # Twice the step at least: two cells at a quarter of the size are the fewest whose border can be mirrored.
        down, across = (max(-side % STEP, 2 * STEP - side) for side in (height, width))
        missing = [(0, 0), (0, down), (0, across), (0, 0)]
        answers = network.predict_on_batch(np.pad(batch, missing, mode="edge").astype(np.float32))
        yield from np.clip(np.round(answers[:, :height, :width]), 0, 255).astype(np.uint8)


def _of_one_size(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    batch: list[np.ndarray] = []
    for picture in pictures:
        if batch and (len(batch) == BATCH or batch[0].shape != picture.shape):
            yield np.stack(batch)
            batch = []
        batch.append(picture)
    if batch:
        yield np.stack(batch)


def apply(folder: Path, images: Path, out: Path, size: int) -> int:
    """Restyle all pictures of a folder into another, as JPEG under the same names; those of one stem keep suffixes.

    Args:
        folder: of a finished training.
        images: pictures, at any depth; those that cannot be read are named and left out.
        out: where the restyled ones go.
        size: longest side in pixels; larger pictures are shrunk to it.

    Returns:
        How many were restyled.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE, BAD_MODEL) there are no pictures, none can be read, or no network.
    """
    files = style_files(images)
    network = load(folder)
    names: list[Path] = []

    def pictures() -> Iterator[np.ndarray]:
        for file, stem in zip(files, stems(files), strict=True):
            try:
                picture = Image.fromarray(open_rgb(file))
            except AnnotatorError as error:
                print(error, file=sys.stderr)
                continue
            picture.thumbnail((size, size))
            names.append(out / file.relative_to(images).with_name(f"{stem}.jpg"))
            yield np.asarray(picture)

    count = 0
    for picture in restyled(network, pictures()):
        names[count].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(names[count], quality=92)
        count += 1
    if not count:
        raise AnnotatorError(f"None of the {len(files)} pictures can be read.", ExitCode.BAD_IMAGE)
    print(f"{count} restyled pictures are in {out}.", flush=True)
    return count
