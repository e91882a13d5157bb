"""Pictures of how a training went and what it gave."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from sklearn.manifold import TSNE

from annotator.text import fitting_font, printable, shortened
from training.calibration import BINS, bin_of

MAPPED = 400  # samples of each kind on a map of features
SHEET_ROWS, SHEET_COLUMNS, THUMBNAIL = 4, 6, 320  # of a page of pictures; pixels of each
CAPTION, LETTERS = 32, 24  # pixels of these: a line of text, and its letters where they fit
LONGEST_NAME, LETTER = 40, 0.075  # letters of a label beside a matrix; inches that one of 8 points takes
DARK = 0.5  # share from which a field of a matrix takes white letters
SHEET_PAIRS = SHEET_ROWS * SHEET_COLUMNS // 2


def sheet(shown: Sequence[tuple[np.ndarray, np.ndarray]], captions: Sequence[str] = ()) -> Image.Image:
    """Pictures side by side, small, with boxes drawn: to see at a glance what is there.

    Args:
        shown: at most `SHEET_ROWS` times `SHEET_COLUMNS` pictures, (h, w, 3) uint8, each with its (k, 4) boxes; empty
            boxes are not drawn.
        captions: a line under each picture; empty for none.
    """
    rows, caption = max(1, math.ceil(len(shown) / SHEET_COLUMNS)), CAPTION if captions else 0
    page = Image.new("RGB", (SHEET_COLUMNS * THUMBNAIL, rows * THUMBNAIL), "white")
    for number, (picture, boxes) in enumerate(shown):
        left, top = number % SHEET_COLUMNS * THUMBNAIL, number // SHEET_COLUMNS * THUMBNAIL
        small = Image.fromarray(picture)
        small.thumbnail((THUMBNAIL - 4, THUMBNAIL - 4 - caption))
        draw = ImageDraw.Draw(small)
        scale = np.tile(np.divide(small.size, picture.shape[1::-1]), 2)  # not one number where a side is a few pixels
        for box in (boxes[boxes[:, 2] > boxes[:, 0]] * scale).tolist():
            draw.rectangle(box, outline="#ffb000", width=2)
        page.paste(small, (left, top))
        if captions:
            text = printable(captions[number])
            font = fitting_font([text], THUMBNAIL - 8, LETTERS)
            ImageDraw.Draw(page).text((left, top + small.height + 2), text, "black", font)
    return page


def sheet_of_pairs(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Image.Image:
    """A `sheet` of at most `SHEET_PAIRS` pairs of pictures, (h, w, 3) uint8 each, side by side."""
    return sheet([(image, np.zeros((0, 4))) for pair in pairs for image in pair])


def curves(log: Path, out: Path) -> None:
    """Loss on training and development over epochs, from ``log.csv``."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    epochs = [int(row["epoch"]) for row in rows]
    for column, name in (("loss", "training"), ("val_loss", "development")):
        axes.plot(epochs, [float(row[column]) for row in rows], marker="o", label=name)
    axes.legend()
    figure.savefig(out, dpi=120)


def adversarial_curves(log: Path, strength: Callable[[np.ndarray], np.ndarray], out: Path) -> None:
    """Label loss, domain accuracy and lambda over epochs of adversarial training, from ``log.csv``.

    Args:
        log: of `training.loop`.
        strength: lambda of the progress in [0, 1].
        out: PNG file.
    """
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = np.array([int(row["epoch"]) for row in rows])
    figure = Figure(figsize=(6, 7), layout="constrained")
    losses, accuracies, strengths = figure.subplots(3, sharex=True)
    for axes, column in ((losses, "label_loss"), (accuracies, "domain_accuracy")):
        for prefix, name in (("", "training"), ("val_", "development")):
            axes.plot(epochs, [float(row[prefix + column]) for row in rows], marker="o", label=name)
    losses.set(ylabel="label loss")
    accuracies.axhline(0.5, color="grey", linestyle=":", label="cannot be told apart")
    accuracies.set(ylabel="domain accuracy", ylim=(0, 1.02))
    strengths.plot(epochs, strength(epochs / epochs[-1]), marker="o", label="lambda")
    strengths.set(xlabel="epoch", ylabel="strength of the reversal", ylim=(0, 1.02))
    for axes in (losses, accuracies, strengths):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)


def feature_map(features: Mapping[str, tuple[np.ndarray, np.ndarray]], out: Path) -> None:
    """Features of labelled and unlabelled samples as points, near where they are alike (t-SNE), one map for each name.

    Args:
        features: (n, channels) of the labelled and (m, channels) of the unlabelled samples, by the map's name.
        out: PNG file.
    """
    figure = Figure(figsize=(5 * len(features), 5), layout="constrained")
    maps = np.atleast_1d(figure.subplots(1, len(features)))
    for axes, (name, (source, target)) in zip(maps, features.items(), strict=True):
        every = np.concatenate([source[:MAPPED], target[:MAPPED]])
        perplexity = min(30.0, (len(every) - 1) / 3)
        places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(every)
        count = len(source[:MAPPED])
        axes.scatter(*places[:count].T, s=12, marker="o", color="#1f6fb4", label="labelled")
        axes.scatter(*places[count:].T, s=20, marker="x", color="#d95f02", label="unlabelled")
        axes.set(title=name, xticks=[], yticks=[])
        axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)


def confusion(probabilities: np.ndarray, targets: np.ndarray, names: Sequence[str], out: Path) -> None:
    """What was taken for what: a row for each true label that occurs, a column for each that something was taken for.

    Colours are shares of a row.

    Args:
        probabilities: (n, labels).
        targets: (n,) true labels.
        names: of the labels.
        out: PNG file.
    """
    (rows, row_of), (columns, column_of) = (
        np.unique(labels, return_inverse=True) for labels in (targets, probabilities.argmax(axis=1))
    )
    counts = np.zeros((len(rows), len(columns)), int)
    np.add.at(counts, (row_of, column_of), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    beside = max(2.5, 1 + LETTER * min(LONGEST_NAME, max(map(len, names))))
    figure = Figure(figsize=(beside + 0.24 * len(columns), beside + 0.24 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel="taken for", ylabel="is")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > DARK else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    # As they are: what stands between two dollars would be taken for a formula, and end the training if it is none.
    across, down = (
        [shortened(printable(names[int(label)]), LONGEST_NAME) for label in labels] for labels in (columns, rows)
    )
    axes.set_xticks(range(len(columns)), across, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(rows)), down, fontsize=8, parse_math=False)
    figure.savefig(out, dpi=120)


def reliability(probabilities: Mapping[str, np.ndarray], targets: np.ndarray, out: Path) -> None:
    """Accuracy over confidence: on the diagonal, 0.8 means right 8 times of 10 (Guo et al. 2017, figure 4).

    Args:
        probabilities: (n, labels) by the name of their line.
        targets: (n,) true labels.
        out: PNG file.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="what it should be")
    for name, values in probabilities.items():
        confidence, right = values.max(axis=1), values.argmax(axis=1) == targets
        place = bin_of(confidence)
        counts = np.bincount(place, minlength=BINS)
        means = [
            np.bincount(place, weights=weights, minlength=BINS) / counts.clip(1) for weights in (confidence, right)
        ]
        axes.plot(means[0][counts > 0], means[1][counts > 0], marker="o", label=name)
    axes.legend()
    figure.savefig(out, dpi=120)


def precision_recall(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], out: Path) -> None:
    """Precision over recall, a line for each name: (recall, precision)."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="share of the instruments found", ylabel="share of the boxes that are right")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    for name, (recall, precision) in lines.items():
        axes.plot(recall, precision, label=name)
    axes.legend()
    figure.savefig(out, dpi=120)


def neighbour_distances(curve: np.ndarray, reach: float, neighbour: int, out: Path) -> None:
    """The k-distance curve (Ester et al. 1996) and the reach that was read from it.

    Args:
        curve: (n,) distances, rising.
        reach: where the curve is cut.
        neighbour: k, which neighbour the distances are to.
        out: PNG file.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="pictures, by this distance", ylabel=f"distance to neighbour {neighbour}")
    axes.plot(np.arange(1, len(curve) + 1), curve, marker="." if len(curve) < 200 else "")
    axes.axhline(reach, color="grey", linestyle=":", label=f"reach {reach:.4g}")
    axes.legend()
    figure.savefig(out, dpi=120)


def style_map(places: np.ndarray, labels: np.ndarray, medoids: np.ndarray, out: Path) -> None:
    """Pictures as points, near where their styles are alike, coloured by cluster; noise is grey.

    Args:
        places: (n, 2).
        labels: (n,) clusters, -1 for noise.
        medoids: (n,) bool, which stand for their cluster.
        out: PNG file.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xticks=[], yticks=[])
    own = labels >= 0
    axes.scatter(places[~own, 0], places[~own, 1], s=12, color="lightgrey", label="no common style")
    axes.scatter(places[own, 0], places[own, 1], s=18, c=labels[own], cmap="turbo")
    axes.scatter(places[medoids, 0], places[medoids, 1], s=140, facecolors="none", edgecolors="black", label="medoid")
    for place, label in zip(places[medoids], labels[medoids], strict=True):
        axes.annotate(str(label), place, textcoords="offset points", xytext=(8, 6))
    axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)


def style_terms(values: np.ndarray, names: Sequence[str], sides: np.ndarray, out: Path) -> None:
    """The terms of a style transfer's loss over its steps, on a logarithmic scale; a line where the size grows.

    Args:
        values: (steps, terms).
        names: of the terms.
        sides: (steps,) the longest side in pixels at each step.
        out: PNG file.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values.sum(axis=1), color="black", label="sum")
    for column, name in zip(values.T, names, strict=True):
        if column.any():
            axes.plot(steps, column, label=name)
    for step in np.flatnonzero(np.diff(sides)) + 1:
        axes.axvline(step + 0.5, color="grey", linestyle=":")
    axes.legend()
    figure.savefig(out, dpi=120)
