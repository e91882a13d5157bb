"""Chain against no chain: ImageNet, photographs, artworks, or ImageNet and artworks alone; judged on other artworks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from annotator.models import builtin
from annotator.models.bundle import Model
from benchmarks.accuracy import ARTWORKS
from benchmarks.composites import PHOTOGRAPHS
from benchmarks.cross_validation import learnt_in_turn
from training import champion, datasets, feedback, metrics, photographs, runs
from training.datasets import Picture

FOLDS = 5
SEED = 7


def run() -> dict[str, object]:
    """Average precisions on artworks that were not learnt from, with and without the stage of photographs between."""
    if not (PHOTOGRAPHS.exists() and ARTWORKS.exists()):
        return {"skipped": "the photographs and artworks do not lie beside the project"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = runs.Settings((str(PHOTOGRAPHS),), None, "head", "efficientnet-lite0", "imagenet", None, 0, SEED)
        between = photographs.run(settings, folder / "photographs")
        begun = {"no_chain": builtin.load(), "chain": between}
        return compared(begun, datasets.read(ARTWORKS, "coco"), folder)


def compared(begun: Mapping[str, Model], pictures: Sequence[Picture], folder: Path) -> dict[str, object]:
    """Average precisions of models that each learn from four folds of artworks and are judged on the fifth.

    Args:
        begun: what learns, by name: no chain, then the chain; of the same backbone, which neither has changed.
        pictures: artworks all of whose instruments are known.
        folder: for temporary files.

    Returns:
        Of both, and of the chain less no chain, figures with the interval of a paired bootstrap over artworks.
    """
    see = feedback.keep(begun["no_chain"], pictures, folder)
    values = {}
    for name, model in begun.items():
        judged = learnt_in_turn(model, pictures, FOLDS, see)
        values[name] = champion.resampled(judged.labels, judged.found, judged.pictures)
    no_chain, chain = values.values()
    return {
        "artworks": len(pictures),
        **{name: {key: metrics.figure(value) for key, value in own.items()} for name, own in values.items()},
        "difference": {key: metrics.figure(chain[key] - no_chain[key]) for key in chain},
    }
