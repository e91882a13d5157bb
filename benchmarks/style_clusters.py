"""Whether clusters recover styles that were planted, and what 20,000 pictures take."""

import resource
import time
from collections.abc import Iterator

import numpy as np
from sklearn.metrics import adjusted_rand_score

from annotator.pictures import open_rgb, picture_files
from benchmarks import accuracy, composites
from training import datasets
from training.style import clusters, stylise
from training.style.representation import square, style_network, styles_of

STYLES = accuracy.ARTWORKS.parent / "styles"
CONTENTS, KINDS = 30, ("arbitrary", "fourier", "reinhard")
MANY, LENGTH, BATCH = 20_000, 159_984, 8  # pictures; numbers of a style of EfficientNet-Lite0
DIRECTIONS = 64  # in which synthetic styles differ, each less than the one before, as those of artworks do


def planted() -> dict[str, object]:
    """Adjusted Rand index of the clusters of photographs restyled three ways, at the default share of noise."""
    pictures = datasets.read(composites.PHOTOGRAPHS)
    chosen = [pictures[i].path for i in np.random.default_rng(0).permutation(len(pictures))[:CONTENTS]]
    textures = [open_rgb(file) for file in picture_files(STYLES)]
    network = style_network("efficientnet-lite0", "imagenet")
    truth = np.repeat(np.arange(len(textures)), CONTENTS)
    result: dict[str, object] = {}
    for kind in KINDS:
        restyle = stylise.restyler(kind)
        restyled = (square(restyle(open_rgb(path), texture)) for texture in textures for path in chosen)
        styles = np.concatenate(list(styles_of(network, restyled)))
        labels = clusters.cluster(styles).labels
        found = {"clusters": int(labels.max()) + 1, "noise": int((labels < 0).sum())}
        result[kind] = {"adjusted_rand_index": round(float(adjusted_rand_score(truth, labels)), 3), **found}
    return result


def synthetic() -> Iterator[np.ndarray]:
    """Batches of styles that differ as those of artworks do: mostly in few directions, some pictures far out."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(DIRECTIONS, LENGTH)).astype(np.float32) / np.arange(1, DIRECTIONS + 1)[:, None]
    for _ in range(MANY // BATCH):
        size = random.lognormal(0, 0.4, (BATCH, 1))
        yield ((random.normal(size=(BATCH, DIRECTIONS)) * size).astype(np.float32) @ directions).astype(np.float32)


def many() -> dict[str, object]:
    """Seconds, the highest memory of this process, and errors of distances, of `MANY` synthetic styles."""
    start = time.perf_counter()
    styles, errors = clusters.gathered(synthetic(), MANY)
    gathered = time.perf_counter()
    found = clusters.cluster(styles)
    assert errors is not None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    middle, most, worst = np.percentile(np.abs(errors), [50, 95, 100])
    return {
        "pictures": MANY,
        "clusters": len(found.medoids),
        "seconds": {"made_and_projected": round(gathered - start), "clustered": round(time.perf_counter() - gathered)},
        "GiB": round(highest / 2**30, 2),
        "error": {"median": round(float(middle), 4), "95 %": round(float(most), 4), "most": round(float(worst), 4)},
    }


def run() -> dict[str, object]:
    """Both."""
    if not (composites.PHOTOGRAPHS.exists() and STYLES.exists()):
        return {"many": many(), "planted": "skipped: the photographs do not lie beside the project"}
    return {"many": many(), "planted": planted()}
