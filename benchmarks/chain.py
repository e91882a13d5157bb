"""Chain against no chain: ImageNet, photographs, artworks, or ImageNet and artworks alone; judged on other artworks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from annotator.detection import Detections
from annotator.models import builtin
from annotator.models.bundle import Label, Model
from annotator.pictures import open_rgb
from benchmarks.accuracy import ARTWORKS
from training import champion, datasets, evaluate, feedback, metrics, photographs, runs
from training.datasets import Picture

PHOTOGRAPHS = Path(__file__).parents[1] / "../shared/data/photographs"
FOLDS = 5
SIDE = 427  # pixels of the longest side: ten times as many pictures in an hour, at the price of small instruments
SEED = 7


def run() -> dict[str, object]:
    """Average precisions on artworks that were not learnt from, with and without the stage of photographs between."""
    if not (PHOTOGRAPHS.exists() and ARTWORKS.exists()):
        return {"skipped": "the photographs and artworks do not lie beside the project"}
    with tempfile.TemporaryDirectory() as folder:
        settings = runs.Settings((str(PHOTOGRAPHS),), None, "head", "efficientnet-lite0", "imagenet", None, 0, SEED)
        between = photographs.run(settings, Path(folder) / "photographs")
        pictures = [smaller(picture, Path(folder)) for picture in datasets.read(ARTWORKS, "coco")]
        return compared({"no_chain": builtin.load(), "chain": between}, pictures)


def smaller(picture: Picture, folder: Path) -> Picture:
    """A picture, with its boxes, of which the longest side is at most `SIDE` pixels, kept in a folder."""
    image = Image.fromarray(open_rgb(picture.path))
    scale = min(1.0, SIDE / max(image.size))
    path = folder / f"{picture.path.stem}.png"
    image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS).save(path)
    regions = []
    for region in picture.regions:
        x0, y0, x1, y1 = (scale * side for side in region.box or (0, 0, *image.size))
        regions.append(replace(region, box=(x0, y0, x1, y1)))
    return replace(picture, path=path, regions=tuple(regions))


def in_turn(pictures: Sequence[Picture], folds: int) -> Iterator[tuple[list[Picture], list[Picture]]]:
    """Pictures to learn from and pictures to judge by, each picture judging once; instruments are spread evenly."""
    ordered = sorted(pictures, key=lambda one: (min((r.label.name for r in one.regions), default=""), one.group))
    for fold in range(folds):
        yield [one for number, one in enumerate(ordered) if number % folds != fold], ordered[fold::folds]


def compared(begun: Mapping[str, Model], pictures: Sequence[Picture]) -> dict[str, object]:
    """Average precisions of models that each learn from four folds of artworks and are judged on the fifth.

    Args:
        begun: what learns, by name: no chain, then the chain.
        pictures: artworks all of whose instruments are known.

    Returns:
        Of both, and of the chain less no chain, figures with the interval of a paired bootstrap over artworks.
    """
    named: dict[str, tuple[list[Label], list[Detections]]] = {name: ([], []) for name in begun}
    judged: list[Picture] = []
    for training, own in in_turn(pictures, FOLDS):
        judged += own
        for name, model in begun.items():
            learnt = feedback.learn(model, training)
            labels, found = named[name]
            for picture in own:
                one = evaluate.detections_of(learnt, picture.path)
                # Each fold's model has labels of its own: they stand one after the other.
                found.append(replace(one, labels=one.labels + len(labels)))
            labels += learnt.labels
    values = {name: champion.resampled(*found, judged) for name, found in named.items()}
    no_chain, chain = values.values()
    return {
        "artworks": len(judged),
        **{name: {key: metrics.figure(value) for key, value in own.items()} for name, own in values.items()},
        "difference": {key: metrics.figure(chain[key] - no_chain[key]) for key in chain},
    }
