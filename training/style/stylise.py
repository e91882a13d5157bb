"""Restyled copies of labelled pictures, made once and learnt from like any other data (Geirhos et al. 2019)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import jpeg, open_rgb
from training import datasets, plots, runs, splits
from training.datasets import Picture, labels_of
from training.datasets.coco import IMAGES, annotation, write
from training.datasets.folder import TABLE
from training.datasets.pictures import size_of
from training.datasets.tables import as_csv
from training.splits import Fingerprint
from training.style import arbitrary, fast, recolour
from training.style.clusters import style_files

Restyle = Callable[[np.ndarray, np.ndarray], np.ndarray]  # content and style, (h, w, 3) uint8 each, to (h, w, 3) uint8
KINDS: dict[str, Callable[[], Restyle]] = {
    "reinhard": lambda: recolour.reinhard,
    "fourier": lambda: recolour.fourier,
    "arbitrary": arbitrary.restyler,
}


@dataclass(frozen=True)
class Settings:
    """What copies were asked for; kept in their folder as ``config.json``.

    Attributes:
        images: folder of labelled pictures.
        format: a key of `training.datasets.FORMATS`, None to guess.
        styles: folder of pictures whose styles are taken; None for the one that a network has learnt.
        kind: a key of `KINDS`, or the folder of a training of `training.style.fast`.
        proportion: copies for each picture that is learnt from; below 1 some have none, above 1 some have several.
        seed: of the split, as for the training, and of who gets which style.
    """

    images: str
    format: str | None
    styles: str | None
    kind: str
    proportion: float
    seed: int


@dataclass(frozen=True)
class Copy:
    """A restyled picture: its file within the folder, its content, its style's file, and its sources' digits."""

    file: str
    content: Picture
    style: Path
    sources: tuple[str, ...]


def restyler(kind: str) -> Restyle:
    """A way to restyle.

    Args:
        kind: a key of `KINDS`, or the folder of a training of `training.style.fast`, which has one style whatever it
            is given.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL) there is no such way or network, or its package is not installed.
    """
    if kind in KINDS:
        return KINDS[kind]()
    if not Path(kind).is_dir():
        raise AnnotatorError(
            f"No way of restyling {kind!r}; there are {', '.join(KINDS)}, or the folder of a train-fast.",
            ExitCode.USAGE,
        )
    network = fast.load(Path(kind))
    return lambda content, _: next(fast.restyled(network, [content]))


def styles_for(settings: Settings) -> dict[Picture, Fingerprint]:
    """The pictures whose styles are taken.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE) there are none, or none that can be read.
    """
    if settings.kind not in KINDS:
        files = sorted(Path(settings.kind).glob(f"{fast.STYLE}.*"))
    elif settings.styles is None:
        raise AnnotatorError(
            f"Copies of the kind {settings.kind} need pictures whose styles are taken. Give their folder as --styles.",
            ExitCode.USAGE,
        )
    else:
        files = style_files(Path(settings.styles))
    return splits.readable([Picture(file, file.name) for file in files])


def run(settings: Settings, out: Path) -> list[Copy]:
    """Write restyled copies of pictures that are learnt from, as a data set that `training.datasets` reads.

    Pictures are parted as in training under the same seed. Only those that are learnt from are copied, and a copy says
    so, has the group of its picture and names both sources: nothing that is judged by is learnt from in another style.
    Photographs become ``labels.csv``, pictures with boxes ``annotations.json``; ``sheet.jpg`` is to look at.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE, BAD_MODEL) a setting is out of range; the pictures, styles or network do
            not do; the folder holds other copies.
    """
    if settings.proportion <= 0:
        raise AnnotatorError(f"A proportion of {settings.proportion}: it must be above 0, 1 is usual.", ExitCode.USAGE)
    restyle = restyler(settings.kind)
    styles = styles_for(settings)
    fingerprints = splits.readable(datasets.read(Path(settings.images), settings.format))
    parts = splits.split(list(fingerprints), list(fingerprints.values()), settings.seed)
    runs.claim(out, settings)
    contents = {picture: fingerprints[picture] for picture in parts.training}
    held = [fingerprints[picture] for picture in (*parts.development, *parts.test)]
    judged = {one.sha256 for one in held}
    styles = {picture: one for picture, one in styles.items() if one.sha256 not in judged}
    if not styles:
        raise AnnotatorError("All pictures whose styles are taken are kept to judge by. Give others.", ExitCode.USAGE)
    count = round(settings.proportion * len(contents))
    copies = copies_of(contents, styles, held, restyle, count, settings.seed, out)
    if not copies:
        raise AnnotatorError(
            f"A proportion of {settings.proportion} of {len(parts.training)} pictures leaves no copy. Ask for more.",
            ExitCode.USAGE,
        )
    photographs = all(len(copy.content.regions) == 1 and copy.content.regions[0].box is None for copy in copies)
    (_write_table if photographs else _write_coco)(copies, out)
    _sheet(copies, out)
    print(
        f"{len(copies)} copies of {len({copy.content for copy in copies})} pictures in {len(styles)} styles are in "
        f"{out}; look at {out / 'sheet.jpg'}.",
        flush=True,
    )
    return copies


def copies_of(
    contents: Mapping[Picture, Fingerprint],
    styles: Mapping[Picture, Fingerprint],
    held: Sequence[Fingerprint],
    restyle: Restyle,
    count: int,
    seed: int,
    out: Path,
) -> list[Copy]:
    """Restyled copies of pictures, in files under ``out``; a file that is there already is not made again.

    Args:
        contents: what is copied, each as often as another.
        styles: whose styles are taken, each by lot; no picture is restyled by itself.
        held: of pictures that are kept to judge by: a copy that looks like one of them is left out.
        restyle: how.
        count: copies.
        seed: of who gets which style.
        out: folder.
    """
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pictures, every = list(contents), list(styles)
    rounds = np.tile(np.arange(len(pictures)), (-(-count // len(pictures)), 1))
    order = random.permuted(rounds, axis=1).ravel()[:count]
    chosen = random.integers(len(every), size=count)
    made, hashes = [], []
    for number, (position, style) in enumerate(zip(order.tolist(), chosen.tolist(), strict=True)):
        picture, own = pictures[position], every[style]
        if own.path == picture.path:
            own = every[(style + 1) % len(every)]
        # Named after its sources: of other pictures, a file that is there already is another copy's.
        file = f"{IMAGES}/{number:05d}_{contents[picture].sha256}_{styles[own].sha256}.jpg"
        if not (out / file).exists():
            try:
                restyled = restyle(open_rgb(picture.path), open_rgb(own.path))
            except AnnotatorError as error:
                print(f"{picture.path.name!r} in the style of {own.path.name!r}: {error}", file=sys.stderr)
                continue
            runs.write_whole(out / file, jpeg(Image.fromarray(restyled), 92))
        hashes.append(splits.perceptual_hash(open_rgb(out / file)))
        sources = (contents[picture].sha256, *picture.sources, styles[own].sha256)
        made.append(Copy(file, picture, own.path, sources))
        if (number + 1) % 100 == 0:
            print(f"{number + 1} of {count} pictures restyled", flush=True)
    leaking = _near(hashes, held)
    if leaking.any():
        print(f"{int(leaking.sum())} copies look like a picture that is kept to judge by: left out.", file=sys.stderr)
    return [copy for copy, leaks in zip(made, leaking, strict=True) if not leaks]


def _near(hashes: Sequence[int], held: Sequence[Fingerprint]) -> np.ndarray:
    """(n,) bool: which perceptual hashes are those of near-duplicates of pictures that are held back."""
    own, others = np.array(hashes, np.uint64), np.array([one.perceptual for one in held], np.uint64)
    return np.asarray(splits.alike(own, others).any(axis=1))


def _write_table(copies: Sequence[Copy], out: Path) -> None:
    rows = []
    for copy in copies:
        label = copy.content.regions[0].label
        row = [copy.file, label.name, label.mimo_id, copy.content.group, "training", " ".join(copy.sources)]
        rows.append([*row, copy.content.path.name, copy.style.name])
    header = ["file", "label", "mimo_id", "object", "split", "sources", "content", "style"]
    (out / TABLE).write_bytes(as_csv(header, rows))


def _write_coco(copies: Sequence[Copy], out: Path) -> None:
    number_of = {label: number for number, label in enumerate(labels_of([copy.content for copy in copies]), start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, copy in enumerate(copies):
        width, height = size_of(out / copy.file) or (0, 0)
        images.append(
            {
                "id": number,
                "file_name": Path(copy.file).name,
                "width": width,
                "height": height,
                "group": copy.content.group,
                "split": "training",
                "sources": list(copy.sources),
                "content": copy.content.path.name,
                "style": copy.style.name,
            }
        )
        for region in copy.content.regions:
            if region.label in number_of:
                box = region.box or (0, 0, width, height)
                row = annotation(len(annotations) + 1, number, number_of[region.label], box)
                annotations.append(row | {"ignore": int(region.difficult)})
    write(out, images, number_of, annotations)


def _sheet(copies: Sequence[Copy], out: Path) -> None:
    """A page of contents, each followed by its copy."""
    shown = copies[:: max(1, len(copies) // plots.SHEET_PAIRS)][: plots.SHEET_PAIRS]
    pairs = [(open_rgb(copy.content.path), open_rgb(out / copy.file)) for copy in shown]
    plots.sheet_of_pairs(pairs).save(out / "sheet.jpg", quality=85)
