"""Look at labelled pictures before learning from them: what is there, what is too little, what cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from annotator.pictures import open_rgb
from training import datasets, plots, splits
from training.datasets import Picture, labels_of
from training.datasets.pictures import size_of
from training.datasets.tables import as_csv

LABELS, DUPLICATES, SHEET = "labels.csv", "near_duplicates.csv", "sheet.jpg"
SHARES = (5, 25, 50, 75, 95)  # percentiles of box sizes that are told


def run(folders: Sequence[Path], format_name: str | None, out: Path, seed: int) -> None:
    """Print what the folders hold and write tables and a page of examples to ``out``.

    ``labels.csv`` counts regions, objects and difficult ones of each label, ``near_duplicates.csv`` lists pictures that
    show nearly the same, which training keeps in one split, and ``sheet.jpg`` shows pictures with their boxes.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE) a folder is not what its format says, or none of its pictures can be read.
    """
    fingerprints = splits.readable([one for folder in folders for one in datasets.read(folder, format_name)])
    pictures = list(fingerprints)
    out.mkdir(parents=True, exist_ok=True)
    rows = label_counts(pictures)
    (out / LABELS).write_bytes(as_csv(list(rows[0]) if rows else [], [row.values() for row in rows]))
    for row in rows:
        print(f"{row['label']}: {row['regions']} in {row['objects']} objects, {row['difficult']} more are difficult")
    pairs = splits.near_duplicates(list(fingerprints.values()))
    (out / DUPLICATES).write_bytes(
        as_csv(["one", "other"], [(pictures[first].path, pictures[second].path) for first, second in pairs])
    )
    empty = sum(not picture.regions for picture in pictures)
    print(f"{len(pictures)} pictures, {empty} without instruments; pairs that show nearly the same: {len(pairs)}.")
    sides = box_sides(pictures)
    if len(sides):
        told = ", ".join(f"{value:.3f}" for value in np.percentile(sides, SHARES))
        print(f"Boxes measure, in longest sides of their picture, at the percentiles {SHARES}: {told}.")
    chosen = np.random.default_rng(seed).permutation(len(pictures))[: plots.SHEET_ROWS * plots.SHEET_COLUMNS]
    shown = [(open_rgb(pictures[i].path), boxes_of(pictures[i])) for i in np.sort(chosen)]
    plots.sheet(shown).save(out / SHEET, quality=85)
    print(f"Look at {out / SHEET}.")
    few = [row["label"] for row in rows if int(str(row["objects"])) < splits.FOLDS]
    if few:
        print(
            f"Too few to judge by, less than {splits.FOLDS} objects: {', '.join(map(str, few))}. Add pictures.",
            file=sys.stderr,
        )


def label_counts(pictures: Sequence[Picture]) -> list[dict[str, object]]:
    """A row for each label, by name: its regions, the objects they are of, and how many more are difficult."""
    regions = [(picture.group, region) for picture in pictures for region in picture.regions]
    rows: list[dict[str, object]] = []
    for label in labels_of(pictures):
        own = [(group, region.difficult) for group, region in regions if region.label == label]
        groups = {group for group, difficult in own if not difficult}
        hidden = sum(difficult for _, difficult in own)
        rows.append(
            {
                "label": label.name,
                "mimo_id": label.mimo_id or "",
                "regions": len(own) - hidden,
                "objects": len(groups),
                "difficult": hidden,
            }
        )
    return rows


def boxes_of(picture: Picture) -> np.ndarray:
    """(k, 4) boxes of a picture's regions, in pixels of the file."""
    return np.array([region.box for region in picture.regions if region.box], float).reshape(-1, 4)


def box_sides(pictures: Sequence[Picture]) -> np.ndarray:
    """(k,) square roots of the areas of all boxes, as shares of the longest side of their picture."""
    shares = [np.zeros(0)]
    for picture in pictures:
        boxes, size = boxes_of(picture), size_of(picture.path)
        if len(boxes) and size:
            shares.append(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) / max(size))
    return np.concatenate(shares)
