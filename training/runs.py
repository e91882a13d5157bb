"""What every stage's run folder holds, and what all stages do at their beginning and end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import bundle
from annotator.models.bundle import Model
from training import datasets, splits
from training.datasets import Picture
from training.datasets.pictures import PARTS
from training.datasets.tables import as_csv
from training.metrics import Figure
from training.splits import Fingerprint, Split

CONFIGURATION, SPLITS, METRICS, MODEL = "config.json", "splits.csv", "metrics.json", "model"


@dataclass(frozen=True)
class Settings:
    """What a run was asked for; kept in its folder as ``config.json``.

    Attributes:
        data: folders of pictures.
        format: a key of `training.datasets.FORMATS`, None to guess.
        mode: "head" or "full".
        backbone: a key of `annotator.models.backbones.BACKBONES`.
        weights: see `transfer.start`.
        model: bundle to start from instead, None to start from the backbone.
        epochs: at the most, where there are epochs.
        seed: of everything random.
    """

    data: tuple[str, ...]
    format: str | None
    mode: str
    backbone: str
    weights: str
    model: str | None
    epochs: int
    seed: int


def claim(out: Path, settings: Any, begun: Model | None = None) -> None:
    """Make the run's folder and note what it is for.

    Args:
        out: the folder.
        settings: any dataclass.
        begun: the model that the run starts from: another one may lie under its name when the run is to go on.

    Raises:
        AnnotatorError: (USAGE) it belongs to a run with other settings, or from another model.
    """
    values = asdict(settings) | ({"model_version": begun.version} if begun else {})
    content = json.dumps(values, indent=1)
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIGURATION
    # A run that got no further than this, for a mistyped folder say, has nothing to go on with.
    more = any(file.name != CONFIGURATION for file in out.iterdir())
    if more and path.exists() and path.read_text(encoding="utf-8") != content:
        raise AnnotatorError(
            f"The folder {str(out)!r} holds a run with other settings or from another model (see {CONFIGURATION}). "
            "Name another folder.",
            ExitCode.USAGE,
        )
    write_whole(path, content.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves the old one or none, never half of one."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def read_sources(settings: Settings) -> tuple[list[list[Picture]], dict[Picture, Fingerprint]]:
    """The pictures of each folder, and the fingerprints of those that can be read."""
    sources = [datasets.read(Path(folder), settings.format) for folder in settings.data]
    return sources, splits.readable([picture for pictures in sources for picture in pictures])


def part(
    pictures: Sequence[Picture],
    fingerprints: Mapping[Picture, Fingerprint],
    begun: Model | None,
    seed: int,
    path: Path,
    unlabelled: Mapping[Picture, Fingerprint] | None = None,
) -> Split:
    """Part the pictures, keep what an earlier stage had for what, check for leaks, and note it in ``path``.

    Args:
        pictures: labelled ones.
        fingerprints: of each.
        begun: the model of the earlier stage.
        seed: for which go where.
        path: a table of what is for what, and a digest of what each was labelled with; where a run began with another
            one, it does not go on.
        unlabelled: those that are learnt from as target, to be noted too.

    Raises:
        AnnotatorError: (USAGE) there are too few pictures, what is learnt from would be judged by, or the pictures or
            their labels are others than when the run began.
    """
    before = begun.configuration if begun else None
    earlier = {digest: name for name in PARTS for digest in getattr(before, f"{name}_pictures", ())}
    parts = splits.split(pictures, [fingerprints[picture] for picture in pictures], seed, earlier)
    splits.check_leaks(parts, fingerprints, earlier)
    every = [(name, picture, fingerprints[picture]) for name in PARTS for picture in getattr(parts, name)]
    every += [("target", *item) for item in (unlabelled or {}).items()]
    rows = [
        (name, picture.path, picture.group, one.sha256, hashlib.sha256(repr(picture.regions).encode()).hexdigest()[:12])
        for name, picture, one in every
    ]
    content = as_csv(["split", "file", "group", "sha256", "labels"], rows)
    if path.exists() and path.read_bytes() != content:
        raise AnnotatorError(
            f"The pictures, or their labels, are others than when the run in {str(path.parent)!r} began. Name another "
            "folder.",
            ExitCode.USAGE,
        )
    write_whole(path, content)
    return parts


def sizes(parts: Split) -> str:
    """How many pictures are for what, for people."""
    return f"{len(parts.training)} to learn from, {len(parts.development)} to choose by, {len(parts.test)} to judge by"


def save(
    model: Model,
    stage: str,
    settings: Settings,
    parts: Split,
    fingerprints: dict[Picture, Fingerprint],
    figures: dict[str, Figure],
    out: Path,
) -> Model:
    """Write ``metrics.json`` and the model, with its lineage and the pictures it learnt from and was tested on.

    Args:
        model: as trained and calibrated.
        stage: its name, for people.
        settings: of the run.
        parts: which picture was for what.
        fingerprints: of these pictures.
        figures: what was measured on the test pictures.
        out: the run's folder.
    """
    old = model.configuration
    (out / METRICS).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    source = ", ".join(Path(folder).name for folder in settings.data)
    learnt, chose, tested = (
        {digest for one in own for digest in (fingerprints[one].sha256, *one.sources)}
        for own in (parts.training, parts.development, parts.test)
    )
    configuration = replace(
        old,
        name=f"{old.backbone}, {stage}",
        lineage=(*old.lineage, f"{stage} ({source}), {settings.mode}, seed {settings.seed}"),
        metrics={name: value["value"] for name, value in figures.items()},
        test_pictures=tuple(sorted(tested | set(old.test_pictures))),
        development_pictures=tuple(sorted(chose | set(old.development_pictures))),
        training_pictures=tuple(sorted(learnt | set(old.training_pictures))),
    )
    bundle.save(Model(configuration, model.network, ""), out / MODEL)
    print(f"The model is in {out / MODEL}.", flush=True)
    return bundle.load(out / MODEL)
