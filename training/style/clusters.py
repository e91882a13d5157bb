"""Which styles a collection has: clusters of its pictures by style, and the picture in the middle of each."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from sklearn.cluster import DBSCAN, HDBSCAN
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances, pairwise_distances_chunked, silhouette_score
from sklearn.neighbors import NearestNeighbors
from sklearn.random_projection import SparseRandomProjection

from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import many
from annotator.pictures import jpeg, open_rgb, picture_files
from annotator.report.template import filled
from training import devices, plots
from training.datasets.tables import as_csv
from training.style.representation import square, style_network, styles_of

LEAST = 5  # pictures within reach of each other that make a style, the one in the middle counted (minPts)
NOISE = 0.1  # share of the pictures that is taken to be of no common style, from which the reach follows
EXACT = 1 << 30  # bytes of styles that are kept as they are; of more, random projections are kept
DIMENSIONS = 1024  # of a projection
CHECKED = 100  # pictures whose distances tell the error of the projection
SWEEP, SWEPT = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5), 3000  # shares of noise that are tried for people; pictures at the most
MAPPED = 1000  # pictures on the map
SHOWN, THUMBNAIL = 24, 200  # pictures of a cluster on the page; their longest side in pixels


@dataclass(frozen=True)
class Clusters:
    """Pictures grouped by style.

    Attributes:
        labels: (n,) int, the cluster of each picture, 0 being the largest; -1 for noise, which is no style.
        medoids: (clusters,) position of the picture with the least mean distance to all of its cluster.
        curve: (n,) distance of each picture to its (LEAST - 1)-th neighbour, rising.
        reach: the epsilon of DBSCAN: how far apart two pictures are neighbours.
    """

    labels: np.ndarray
    medoids: np.ndarray
    curve: np.ndarray
    reach: float


def neighbour_distances(styles: np.ndarray) -> np.ndarray:
    """The k-distance curve (Ester et al. 1996, section 4.2), k = LEAST - 1, rising; of fewer pictures the farthest.

    Args:
        styles: (n, length) vectors.
    """
    neighbours = min(LEAST, len(styles)) - 1
    if neighbours == 0:
        return np.zeros(len(styles))
    distances, _ = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(styles).kneighbors()
    return np.sort(distances[:, -1])


def cluster(styles: np.ndarray, noise: float = NOISE) -> Clusters:
    """Group pictures by style with DBSCAN (Ester et al. 1996), minPts = LEAST.

    The reach is where the k-distance curve has left all but the share ``noise`` of the pictures behind: of the two ways
    of section 4.2 to choose it, the one that needs no eye.

    Args:
        styles: (n, length) vectors whose Euclidean distance is that of the styles.
        noise: share of the pictures, above 0 and below 1, that may be of no common style.
    """
    curve = neighbour_distances(styles)
    # Identical pictures are at distance 0 but for rounding, and DBSCAN wants a reach above that.
    reach = max(float(np.quantile(curve, 1 - noise)), 1e-5 * float(np.linalg.norm(styles, axis=1).max()), 1e-30)
    found = DBSCAN(eps=reach, min_samples=LEAST, algorithm="brute").fit_predict(styles)
    sizes = np.bincount(found[found >= 0])
    rank = np.empty(len(sizes) + 1, int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    rank[-1] = -1
    labels = rank[found]
    middles = [medoid(styles, np.flatnonzero(labels == label)) for label in range(len(sizes))]
    return Clusters(labels, np.array(middles, int), curve, reach)


def medoid(styles: np.ndarray, members: np.ndarray) -> int:
    """Of some pictures the position of the one with the least mean distance to them all, the first of equals.

    Args:
        styles: (n, length) vectors of all pictures.
        members: positions of those meant.
    """
    sums = pairwise_distances_chunked(styles[members], reduce_func=lambda chunk, _: chunk.sum(axis=1))
    return int(members[np.argmin(np.concatenate(list(sums)))])


def gathered(batches: Iterator[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """All styles in one array; projected to `DIMENSIONS` numbers each where they would take more than `EXACT` bytes.

    The projection is random and sparse (Li et al. 2006); distances keep their length but for an error (Johnson &
    Lindenstrauss 1984), which is measured here rather than taken from a bound.

    Args:
        batches: arrays (k, length) float32.
        count: how many pictures there are at the most.

    Returns:
        (n, length or DIMENSIONS) float32, and None or the relative errors of the distances between `CHECKED` pictures.

    Raises:
        AnnotatorError: (BAD_IMAGE) there are no batches.
    """
    first = next(batches, None)
    if first is None:
        raise AnnotatorError(f"None of the {count} pictures can be read.", ExitCode.BAD_IMAGE)
    kept, exact, seen = [], list[np.ndarray](), 0
    project = None
    if first.nbytes // len(first) * count > EXACT:
        project = SparseRandomProjection(DIMENSIONS, random_state=0).fit(first[:1])
    step = max(1, count // CHECKED)
    batch: np.ndarray | None = first
    while batch is not None:
        if project is not None:
            exact.extend(batch[position].copy() for position in range(-seen % step, len(batch), step))
            seen += len(batch)
            batch = np.asarray(project.transform(batch), np.float32)
        kept.append(batch)
        batch = next(batches, None)
    if project is None:
        return np.concatenate(kept), None
    checked = np.stack(exact[:CHECKED])
    upper = np.triu_indices(len(checked), 1)
    true, own = (pairwise_distances(values)[upper] for values in (checked, np.asarray(project.transform(checked))))
    return np.concatenate(kept), own[true > 0] / true[true > 0] - 1


def sweep(styles: np.ndarray) -> list[dict[str, Any]]:
    """What other shares of noise would give: reach, clusters, noise found, silhouette (nan for fewer than two)."""
    rows = []
    for noise in SWEEP:
        found = cluster(styles, noise)
        own = found.labels >= 0
        several = len(found.medoids) > 1 and own.sum() > len(found.medoids)
        rows.append(
            {
                "share": noise,
                "reach": found.reach,
                "clusters": len(found.medoids),
                "noise": float((~own).mean()),
                "silhouette": float(silhouette_score(styles[own], found.labels[own])) if several else float("nan"),
            }
        )
    return rows


def without_reach(styles: np.ndarray) -> dict[str, Any]:
    """What HDBSCAN (Campello et al. 2013) finds, which needs no reach: a check on what the reach made of the pictures.

    Args:
        styles: (n, length) vectors, n of at least `LEAST`.

    Returns:
        ``clusters`` and ``noise``, the share of the pictures that are in none.
    """
    labels = HDBSCAN(min_cluster_size=LEAST, metric="precomputed", copy=False).fit_predict(pairwise_distances(styles))
    return {"clusters": int(labels.max()) + 1, "noise": float((labels < 0).mean())}


def positions(styles: np.ndarray) -> np.ndarray:
    """(n, 2) places on a map on which pictures of like style are near (t-SNE on distances; van der Maaten 2008)."""
    distances = pairwise_distances(styles)
    np.fill_diagonal(distances, 0)
    place = TSNE(metric="precomputed", init="random", perplexity=min(30.0, (len(styles) - 1) / 3), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # identical pictures have no neighbourhood to keep
        return place.fit_transform(distances)


def _squares(files: Sequence[Path], readable: list[Path]) -> Iterator[np.ndarray]:
    """The middle of each picture that can be read, whose file goes into ``readable``; the others are named."""
    for number, file in enumerate(files, start=1):
        try:
            image = open_rgb(file)
        except AnnotatorError as error:
            print(error, file=sys.stderr)
            continue
        readable.append(file)
        yield square(image)
        if number % 500 == 0:
            print(f"{number} of {len(files)} pictures seen", flush=True)


def run(images: Path, out: Path, backbone: str, weights: str, noise: float) -> Clusters:
    """Cluster the pictures of a folder and write ``out/clusters.csv`` and ``out/index.html``.

    The table has the columns ``file`` (within the folder), ``cluster`` (-1 for noise) and ``is_medoid`` (1 or 0).

    Args:
        images: folder of pictures, at any depth.
        out: folder of what is written.
        backbone: a key of `representation.STYLE_LAYERS`.
        weights: see `representation.feature_network`.
        noise: see `cluster`.

    Raises:
        AnnotatorError: (USAGE, BAD_IMAGE, BAD_MODEL) no pictures, none that can be read, no such network.
    """
    if not 0 < noise < 1:
        raise AnnotatorError(f"A share of noise of {noise}: it lies between 0 and 1, 0.1 is usual.", ExitCode.USAGE)
    files = style_files(images)
    devices.prepare(0)
    network: keras.Model = style_network(backbone, weights)
    readable: list[Path] = []
    batches = styles_of(network, _squares(files, readable))
    styles, errors = gathered(batches, len(files))
    found = cluster(styles, noise)
    out.mkdir(parents=True, exist_ok=True)
    rows = [
        (path.relative_to(images).as_posix(), label, int(number in found.medoids))
        for number, (path, label) in enumerate(zip(readable, found.labels, strict=True))
    ]
    (out / "clusters.csv").write_bytes(as_csv(["file", "cluster", "is_medoid"], rows))
    _page(images, readable, styles, errors, found, noise, backbone, out)
    print(
        f"{many(len(found.medoids), 'style')} in {len(readable)} pictures, {int((found.labels < 0).sum())} of no "
        f"common style: see {out / 'index.html'}.",
        flush=True,
    )
    return found


def style_files(folder: Path) -> list[Path]:
    """The pictures of a folder, at any depth.

    Raises:
        AnnotatorError: (USAGE) there is no such folder, or no picture in it.
    """
    files = picture_files(folder) if folder.is_dir() else []
    if not files:
        raise AnnotatorError(f"There are no pictures in {str(folder)!r}. Give a folder of pictures.", ExitCode.USAGE)
    return files


def _page(
    images: Path,
    files: Sequence[Path],
    styles: np.ndarray,
    errors: np.ndarray | None,
    found: Clusters,
    noise: float,
    backbone: str,
    out: Path,
) -> None:
    plots.neighbour_distances(found.curve, found.reach, LEAST - 1, out / "k_distance.png")
    mapped = np.union1d(np.linspace(0, len(files) - 1, min(MAPPED, len(files))).astype(int), found.medoids)
    if len(files) >= LEAST:
        plots.style_map(
            positions(styles[mapped]), found.labels[mapped], np.isin(mapped, found.medoids), out / "map.png"
        )

    def shown(members: np.ndarray) -> list[dict[str, object]]:
        return [{"name": files[i].relative_to(images).as_posix(), "thumbnail": _thumbnail(files[i])} for i in members]

    groups = []
    for label, middle in enumerate(found.medoids):
        members = np.flatnonzero(found.labels == label)
        distances = pairwise_distances(styles[members], styles[middle][None])[:, 0]
        nearest = members[np.lexsort((members, members != middle, distances))]
        groups.append({"size": len(members), "pictures": shown(nearest[:SHOWN])})
    alone = np.flatnonzero(found.labels < 0)
    swept = LEAST <= len(files) <= SWEPT
    content = filled(
        __package__,
        "clusters.html.j2",
        count=len(files),
        groups=groups,
        alone={"size": len(alone), "pictures": shown(alone[:SHOWN])},
        reach=found.reach,
        least=LEAST,
        noise=noise,
        backbone=backbone,
        sweep=sweep(styles) if swept else [],
        without_reach=without_reach(styles) if swept else None,
        errors=None if errors is None else np.percentile(np.abs(errors), [50, 95, 100]).tolist(),
        dimensions=DIMENSIONS,
        has_map=len(files) >= LEAST,
        mapped=len(mapped),
    )
    (out / "index.html").write_text(content, encoding="utf-8")


def _thumbnail(file: Path) -> bytes:
    picture = Image.fromarray(open_rgb(file))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return jpeg(picture, 80)
