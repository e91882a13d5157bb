"""Slow style transfer (Gatys et al. 2015): pixels change until a network sees the content of one, the style of another.

Slow, but it needs no training and its loss is what faster ways are measured by.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from scipy.optimize import minimize

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import open_rgb
from training import devices, plots, runs
from training.style.loss import TERMS, loss_network, terms_of

SIZES, COARSEST = 3, 64  # sizes, each twice the one before, and the least of them in pixels of the longest side
SMALLEST_STYLE = 132  # pixels that a filter of conv5_1 sees: of less there is more border than style
ROUND = 50  # steps after which a picture is kept and L-BFGS forgets what it knew of the curvature
STATE, LOG, RESULT = "state.npz", "log.csv", "picture.png"


@dataclass(frozen=True)
class Settings:
    """What a transfer was asked for; kept in its folder as ``config.json``.

    Attributes:
        content: file of the picture whose content is kept.
        style: file of the picture whose style is taken.
        network: a key of `representation.STYLE_LAYERS`.
        weights: see `representation.feature_network`.
        size: longest side of the result in pixels.
        steps: of L-BFGS at each size.
        start: "content" or "noise", what the first size starts from.
        style_weight: how much style counts against content; see `loss.terms_of`.
        variation_weight: how much smoothness counts.
        seed: of the noise.
    """

    content: str
    style: str
    network: str
    weights: str
    size: int
    steps: int
    start: str
    style_weight: float
    variation_weight: float
    seed: int


def sizes(size: int) -> list[int]:
    """The longest sides that are worked at, coarse to fine: what large strokes are is decided where it is cheap."""
    halved = [size >> power for power in reversed(range(SIZES))]
    return [own for own in halved if own >= COARSEST] or [size]


def scaled(image: np.ndarray, side: int) -> np.ndarray:
    """A picture (h, w, 3) uint8 with its longest side at ``side`` pixels, float32."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS), np.float32)


def check_least(settings: Any, **least: int) -> None:
    """Refuse settings below the least that makes sense of each.

    Raises:
        AnnotatorError: (USAGE) one is.
    """
    for name, value in least.items():
        if getattr(settings, name) < value:
            raise AnnotatorError(f"A {name} of {getattr(settings, name)}: {value} is the least.", ExitCode.USAGE)


def style_picture(path: Path) -> np.ndarray:
    """A picture to take the style of, (h, w, 3) uint8.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE) it cannot be read, or is smaller than what the network's filters see.
    """
    style = open_rgb(path)
    if min(style.shape[:2]) < SMALLEST_STYLE:
        raise AnnotatorError(
            f"The style {path.name!r} is {style.shape[1]} x {style.shape[0]} pixels, fewer than the "
            f"{SMALLEST_STYLE} that the network looks at together. Give a larger picture.",
            ExitCode.USAGE,
        )
    return style


def terms_at(network: keras.Model, content: np.ndarray, style: np.ndarray, weights: tuple[float, float]) -> Any:
    """The loss's terms and the gradient of their sum, compiled for pictures of the content's size.

    Args:
        network: of `loss_network`.
        content: (h, w, 3) float32 pixels.
        style: the same of the style, of any size.
        weights: see `terms_of`.

    Returns:
        From an array (1, h, w, 3) to (3,) terms and the gradient.
    """
    terms = terms_of(network, style, weights)
    kept = np.asarray(network(content[None])[-1])
    return devices.value_and_gradient(lambda pixels: terms(pixels, kept))


def improved(terms: Any, pixels: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels after some steps of L-BFGS (Liu & Nocedal 1989).

    Nothing keeps them within 0..255, as in Gatys et al. 2015: bounds cost a tenth of each step.

    Args:
        terms: of `terms_at`.
        pixels: (h, w, 3) float32 to start from.
        steps: at the most; fewer where nothing can be improved any more.

    Returns:
        Pixels, (h, w, 3) float32, some of them below 0 or above 255, and the terms after each step, (steps, 3); after
        the last improvement they repeat.
    """
    # Without knowledge of the curvature the first step goes one unit down a gradient that is long enough. Units are
    # chosen so that this changes pixels by about one of 255: less would drown in the rounding of the network's answers.
    unit, long = np.sqrt(pixels.size), 1e6
    seen: dict[float, np.ndarray] = {}
    rows: list[np.ndarray] = []

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradient = terms((flat * unit).reshape(1, *pixels.shape).astype(np.float32))
        total = float(values.sum(dtype=np.float64)) * long
        seen[total] = values
        return total, gradient.ravel().astype(np.float64) * (long * unit)

    def note(intermediate_result: Any) -> None:
        rows.append(seen[float(intermediate_result.fun)])
        seen.clear()

    found = minimize(
        loss,
        pixels.ravel() / unit,
        jac=True,
        method="L-BFGS-B",
        callback=note,
        options={"maxiter": steps, "maxfun": 10 * steps, "ftol": 0, "gtol": 0},
    )
    last = rows[-1] if rows else terms(pixels[None])[0]
    rows += [last] * (steps - len(rows))
    return (found.x * unit).reshape(pixels.shape).astype(np.float32), np.stack(rows)


def run(settings: Settings, out: Path) -> np.ndarray:
    """Transfer a style and leave the result in ``out/picture.png``.

    Beside it are a picture of every `ROUND` steps, ``log.csv`` with the terms of the loss after each step and
    ``loss.png``, its curve. A run that was stopped goes on where it was when it is started again with the same
    settings, and ends with the same picture.

    Returns:
        The picture, (h, w, 3) uint8.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE, BAD_MODEL) a setting is out of range; a picture cannot be read or is too
            small; there is no such network; the folder holds another run.
    """
    check_least(settings, size=COARSEST, steps=1, style_weight=0, variation_weight=0)
    content, style = open_rgb(Path(settings.content)), style_picture(Path(settings.style))
    devices.prepare(settings.seed)
    network = loss_network(settings.network, settings.weights)
    runs.claim(out, settings)
    key = hashlib.sha256(repr((content.shape, style.shape)).encode() + content.tobytes() + style.tobytes()).hexdigest()
    pixels, log = _restored(out / STATE, key)
    every = sizes(settings.size)
    for number, side in enumerate(every):
        there = scaled(content, side)
        if len(log) >= (number + 1) * settings.steps:
            continue
        terms = terms_at(network, there, scaled(style, side), (settings.style_weight, settings.variation_weight))
        if pixels is None:
            noise = np.random.default_rng(settings.seed).uniform(0, 255, there.shape).astype(np.float32)
            pixels = noise if settings.start == "noise" else there
        if pixels.shape != there.shape:
            pixels = scaled(_picture(pixels), side)
        while len(log) < (number + 1) * settings.steps:
            steps = min(ROUND, (number + 1) * settings.steps - len(log))
            pixels, rows = improved(terms, pixels, steps)
            log = np.concatenate([log, rows])
            step = len(log) - number * settings.steps
            Image.fromarray(_picture(pixels)).save(out / f"{side:04d}_{step:04d}.png")
            _keep(out, pixels, log, every, settings.steps, key)
            content_term, style_term, variation = rows[-1]
            print(
                f"{side} pixels, step {step} of {settings.steps}: loss {rows[-1].sum():.4f} = content "
                f"{content_term:.4f} + style {style_term:.4f} + variation {variation:.4f}",
                flush=True,
            )
    assert pixels is not None  # noqa: S101 (there is at least one size of at least one step)
    picture = _picture(pixels)
    Image.fromarray(picture).save(out / RESULT)
    print(f"The picture is {out / RESULT}.", flush=True)
    return picture


def _picture(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def _keep(out: Path, pixels: np.ndarray, log: np.ndarray, every: list[int], steps: int, key: str) -> None:
    """Write state, log and curve."""
    archive = io.BytesIO()
    np.savez(archive, pixels=pixels, log=log, key=key)
    runs.write_whole(out / STATE, archive.getvalue())
    side = np.repeat(every, steps)[: len(log)]
    with (out / LOG).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "step", *TERMS])
        for number, (size, row) in enumerate(zip(side, log, strict=True)):
            writer.writerow([size, number % steps + 1, *(f"{value:.6g}" for value in row)])
    plots.style_terms(log, TERMS, side, out / "loss.png")


def _restored(path: Path, key: str) -> tuple[np.ndarray | None, np.ndarray]:
    """The pixels and the log of a run that was stopped; None and an empty log of one that did not begin."""
    if not path.is_file():
        return None, np.zeros((0, len(TERMS)))
    try:
        stored = np.load(path, allow_pickle=False)
        if str(stored["key"]) != key:
            raise ValueError("content or style is another picture than when it began")
        return stored["pixels"], stored["log"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AnnotatorError(
            f"The transfer in {str(path.parent)!r} cannot go on: {error}. Delete the folder or name another.",
            ExitCode.USAGE,
        ) from error
