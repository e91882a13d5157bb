"""What a model keeps of the instruments without new examples, and learns of those with ten: on hundreds of composites.

The composites are photographed instruments pasted into paintings, as `training.compose` makes them. Those that are
judged are of other photographs and other paintings than those that are learnt from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from annotator.models import builtin
from annotator.models.bundle import Label
from annotator.pictures import open_rgb
from benchmarks.accuracy import ARTWORKS
from benchmarks.composites import PHOTOGRAPHS
from training import champion, compose, datasets, feedback
from training.datasets import Picture, Region

NEW = ("Bagpipe", "Clarinet", "Dulcimer", "Tambourine")  # which the built-in model does not know
EACH = 10  # composites of each of these that are learnt from
EMPTY = 10  # composites that are learnt from and show no instrument
JUDGED = 160  # composites of instruments without new examples, and as many of the new ones
SEED = 0


def run() -> dict[str, object]:
    """Average precision with the right term before and after, by whether there were new examples."""
    if not (PHOTOGRAPHS.exists() and ARTWORKS.exists()):
        return {"skipped": "the photographs and artworks do not lie beside the project"}
    model = builtin.load()
    sources: dict[Label, list[Picture]] = {}
    for picture in datasets.read(PHOTOGRAPHS, None):
        sources.setdefault(picture.regions[0].label, []).append(picture)
    new = [label for label in sources if label.name in NEW]
    old = [label for label in sources if label in model.labels]
    grounds = [picture.path for picture in datasets.read(ARTWORKS, "coco") if not picture.regions]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        learnt_from = [
            *_composites([(label, sources[label][0::2]) for label in new], grounds[0::2], EACH * len(new), folder),
            *_composites([], grounds[0::2], EMPTY, folder),
        ]
        judged = {
            "without_new_examples": _composites([(one, sources[one]) for one in old], grounds[1::2], JUDGED, folder),
            "with_new_examples": _composites([(one, sources[one][1::2]) for one in new], grounds[1::2], JUDGED, folder),
        }
        after = feedback.learn(model, learnt_from)
        result: dict[str, object] = {
            "learnt_from": len(learnt_from),
            "labels": {"old": len(old), "new": [label.name for label in new]},
        }
        for key, pictures in judged.items():
            comparison = champion.compare(model, after, pictures)
            result[key] = {
                "before": comparison.champion,
                "after": comparison.challenger,
                "difference": comparison.difference,
            }
        return result


def _composites(
    named: Sequence[tuple[Label, Sequence[Picture]]], grounds: Sequence[Path], count: int, folder: Path
) -> list[Picture]:
    """So many composites of one instrument each, the labels in turn; without labels they show none.

    Args:
        named: labels, each with its photographs.
        grounds: paintings that are pasted into.
        count: of composites.
        folder: where they are written.
    """
    queues = [(label, _cutouts(photographs)) for label, photographs in named]
    pictures: list[Picture] = []
    for label, queue in islice(cycle(queues or [(None, iter(()))]), count):
        number = len(list(folder.iterdir()))
        random = np.random.default_rng((SEED, number))
        regions: tuple[Region, ...] = ()
        instruments = [next(queue)] if label else []
        below, other = (open_rgb(grounds[i]) for i in random.integers(len(grounds), size=2))
        distractors = [compose.blob(other, random)]
        pixels, boxes = compose.composite(compose.ground(below, random), instruments, distractors, random)
        if label and boxes[0, 2] > 0:
            x0, y0, x1, y1 = boxes[0].tolist()
            regions = (Region(label, (x0, y0, x1, y1)),)
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        pictures.append(Picture(path, path.name, regions))
    return pictures


def _cutouts(photographs: Sequence[Picture]) -> Iterator[compose.Cutout]:
    """The instruments of the photographs on plain ground, from the first again after the last."""
    cutouts = [one for one in (compose.cut_out(open_rgb(picture.path)) for picture in photographs) if one is not None]
    return cycle(cutouts)
