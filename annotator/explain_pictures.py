"""``python -m annotator explain``: for each picture of a folder, what speaks for what in it, as masks and on a page."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.detection import SCAN_SIDE
from annotator.errors import AnnotatorError, ExitCode
from annotator.explain import check
from annotator.explain.check import Trust
from annotator.explain.picture import Explanation, explain, explainer_of
from annotator.models import builtin, bundle
from annotator.models.bundle import Model
from annotator.pictures import SUFFIXES, open_shrunk, pictures_in, stems
from annotator.report.coco import alternatives_text
from annotator.report.explanations import Explained, Named, write_explanations_page
from annotator.report.heat import over

MASKS, PICTURES, PAGE, CHECK = "masks", "pictures", "index.html", "check.json"
CHECKED = 12  # pictures at the most
PAGE_SIDE = 640  # pixels of a picture on the page
LONGEST_STEM = 255 - len(".visualbackprop.png")  # bytes: names of files are no longer
LARGEST = 500_000_000  # pixels of a picture; Pillow refuses what has twice as many
SECONDS = 5  # between two lines on how far it is


def run(images: Path, out: Path, model_path: Path | None, checking: bool) -> None:
    """Explain the pictures that lie in a folder.

    Writes for each ``out/masks/STEM.visualbackprop.png`` and ``out/masks/STEM.class.png``, 8-bit grey of the picture's
    own size after its EXIF orientation, where STEM is the file's name without its suffix, or the whole name where
    several files would share it; and ``out/index.html`` with ``out/pictures/``.

    Args:
        images: folder of pictures; folders in it are not looked into.
        out: folder of what is written.
        model_path: bundle, folder or zip; None is the built-in model.
        checking: also measure on some of the pictures how far the maps can be trusted, for the page and in
            ``out/check.json``.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL, BAD_IMAGE) no folder, no pictures in it, no such model, or not one picture
            that can be read.
    """
    if not images.is_dir():
        raise AnnotatorError(f"There is no folder {images}. Name one with pictures.", ExitCode.USAGE)
    files = pictures_in(images)
    if not files:
        raise AnnotatorError(f"{images} holds no pictures ({', '.join(SUFFIXES)}).", ExitCode.USAGE)
    for folder in (MASKS, PICTURES):
        (out / folder).mkdir(parents=True, exist_ok=True)
    model = bundle.load(model_path) if model_path else builtin.load()
    explaining = explainer_of(model)
    Image.MAX_IMAGE_PIXELS = LARGEST

    explained: list[Explained] = []
    with_detections: list[Path] = []
    failures: dict[str, str] = {}
    told = time.monotonic()
    for number, (file, stem) in enumerate(zip(files, stems(files), strict=True), start=1):
        try:
            if len(os.fsencode(stem)) > LONGEST_STEM:
                raise AnnotatorError(
                    f"The name of {file.name!r} is too long for those of its masks. Shorten it.", ExitCode.BAD_IMAGE
                )
            image, width, height = open_shrunk(file, SCAN_SIDE)
        except AnnotatorError as error:
            print(error, file=sys.stderr)
            failures[file.name] = str(error)
            continue
        found = explain(model, explaining, image)
        _write_mask(found.visual_backprop, width, height, out / MASKS / f"{stem}.visualbackprop.png")
        _write_mask(found.class_mask, width, height, out / MASKS / f"{stem}.class.png")
        shown = _write_pictures(image, found, out / PICTURES, stem)
        explained.append(_as_explained(model, found, file.name, width, height, shown))
        if len(found.detections):
            with_detections.append(file)
        if time.monotonic() - told > SECONDS or number == len(files):
            told = time.monotonic()
            print(f"{number} of {len(files)} pictures explained", file=sys.stderr, flush=True)
    if not explained:
        raise AnnotatorError(
            f"None of the {len(files)} pictures in {images} can be read. Replace them.", ExitCode.BAD_IMAGE
        )
    trust = _check(model, with_detections, out / CHECK) if checking else None
    page = write_explanations_page(explained, failures, f"{model.name} {model.version}", trust)
    (out / PAGE).write_text(page, encoding="utf-8")
    print(f"Look at   {out / PAGE}")
    print(f"Masks in  {out / MASKS}")


def _check(model: Model, files: Sequence[Path], out: Path) -> Trust | None:
    """Measure on some of the pictures, evenly chosen, and write it down; None where there are none."""
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(CHECKED, len(files))).round().astype(int)]
    small = [open_shrunk(file, check.SIDE)[0] for file in chosen]

    def tell(done: int) -> None:
        print(f"{done} of {len(small)} pictures checked", file=sys.stderr, flush=True)

    trust = check.check(model, small, tell)
    if trust is None:
        print("Nothing could be checked: no instrument found in small versions of these pictures.", file=sys.stderr)
    else:
        out.write_text(json.dumps(asdict(trust), indent=1), encoding="utf-8")
    return trust


def _write_mask(mask: np.ndarray, width: int, height: int, file: Path) -> None:
    grey = Image.fromarray(np.round(mask * 255).astype(np.uint8))
    grey.resize((width, height), Image.Resampling.BILINEAR).save(file)


def _write_pictures(image: np.ndarray, found: Explanation, folder: Path, stem: str) -> tuple[str, str, str]:
    """The picture and each mask over it, small; returns the names of their files."""
    small = Image.fromarray(image)
    small.thumbnail((PAGE_SIDE, PAGE_SIDE))
    pixels = np.asarray(small)
    names = (f"{stem}.jpg", f"{stem}.visualbackprop.jpg", f"{stem}.class.jpg")
    for name, shown in zip(
        names, (pixels, over(pixels, found.visual_backprop), over(pixels, found.class_mask)), strict=True
    ):
        Image.fromarray(shown).save(folder / name, quality=85)
    return names


def _as_explained(
    model: Model, found: Explanation, name: str, width: int, height: int, shown: tuple[str, str, str]
) -> Explained:
    detections = found.detections
    names = [label.name for label in model.labels]
    named = [
        Named(
            names[label],
            float(score),
            alternatives_text(names, also),
        )
        for label, score, also in zip(detections.labels, detections.scores, detections.alternatives, strict=True)
    ]
    return Explained(
        name, width, height, model.labels[found.label].name, found.score, named, *(f"{PICTURES}/{one}" for one in shown)
    )
