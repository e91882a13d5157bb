"""A model and its bundle: one folder, or the same zipped, from which nothing is ever executed.

A bundle holds two files, ``model.json`` (what the numbers mean) and ``weights.safetensors`` (the numbers), and may hold
a third, ``examples.safetensors`` (a few labelled regions that the model learnt from, to show people).
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import examples
from annotator.models.backbones import BACKBONES, build_network
from annotator.models.examples import Examples
from annotator.models.fused import fused

FORMAT = 1  # raised when an older program could misread a bundle
CONFIGURATION, WEIGHTS, EXAMPLES = "model.json", "weights.safetensors", "examples.safetensors"
MOST_CLASSES = 10_000  # four times those of MIMO; a few bytes of JSON that name more would take gigabytes to build
MAXIMUM_BYTES = {CONFIGURATION: 4 << 20, WEIGHTS: 1 << 30, EXAMPLES: 64 << 20}


@dataclass(frozen=True)
class Label:
    """Something a model can name.

    Attributes:
        name: for people, English, singular.
        mimo_id: the instrument in the MIMO thesaurus, None for a term that MIMO does not have.
    """

    name: str
    mimo_id: int | None = None


@dataclass(frozen=True)
class Configuration:
    """What a model's numbers mean.

    Attributes:
        name: of the model, for people.
        backbone: a key of `BACKBONES`.
        labels: what detections are called.
        class_labels: for each output of the head the position of its label, -1 for "no instrument".
        temperature: logits are divided by it before the softmax (Guo et al. 2017).
        threshold: the score from which a detection is shown, unless the user says otherwise.
        lineage: what the model was made from, newest stage last.
        metrics: what was measured, by name.
        test_pictures: the first twelve hexadecimal digits of the SHA-256 of each picture that it was tested on, so that
            no later stage learns from them.
        development_pictures: the same of those that it was chosen and calibrated by.
        training_pictures: the same of those that it learnt from, so that nobody judges it, or a later stage, by them
            unawares.
        box_score: None for a model without a box head; else the score of a box is the logistic function of
            a * objectness + b * log-odds of any instrument + c.
        odds_score: for a model without a box head: the score is the logistic function of a * log-odds of any instrument
            + b, a above 0 (Platt 1999); with (1, 0) it is the probability that the head itself gives.
        thresholds: for each label the score from which it is shown; empty where ``threshold`` is that of all.
    """

    name: str
    backbone: str
    labels: tuple[Label, ...]
    class_labels: tuple[int, ...]
    temperature: float
    threshold: float
    lineage: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    test_pictures: tuple[str, ...] = ()
    development_pictures: tuple[str, ...] = ()
    training_pictures: tuple[str, ...] = ()
    box_score: tuple[float, float, float] | None = None
    thresholds: tuple[float, ...] = ()
    odds_score: tuple[float, float] = (1.0, 0.0)

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ValueError(f"unknown backbone {self.backbone!r}, known are {', '.join(BACKBONES)}")
        if not self.labels or not self.class_labels:
            raise ValueError("a model needs at least one label and one class")
        if len(self.class_labels) > MOST_CLASSES:
            raise ValueError(f"a model has at most {MOST_CLASSES} classes, got {len(self.class_labels)}")
        if set(self.class_labels) - {-1} != set(range(len(self.labels))):
            raise ValueError(f"class_labels must name each of the {len(self.labels)} labels, or -1")
        if -1 not in self.class_labels:
            raise ValueError('a model needs a class for "no instrument" (-1 in class_labels)')
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not all(map(math.isfinite, (self.temperature, *self.odds_score, *(self.box_score or ())))):
            raise ValueError("temperature, odds_score and box_score must be finite")
        if not self.odds_score[0] > 0:
            raise ValueError(f"the first number of odds_score must be positive, got {self.odds_score}")
        if not all(0 <= threshold <= 1 for threshold in (self.threshold, *self.thresholds)):
            raise ValueError(f"thresholds must lie in [0, 1], got {(self.threshold, *self.thresholds)}")
        if len(self.thresholds) not in (0, len(self.labels)):
            raise ValueError(f"{len(self.labels)} labels need as many thresholds or none, got {len(self.thresholds)}")


@dataclass(frozen=True)
class Model:
    """A network that scores windows, and what its numbers mean.

    Attributes:
        configuration: labels, temperature, threshold, lineage.
        network: RGB pixels (n, h, w, 3) uint8, h and w multiples of 32, to logits (n, h/32, w/32, classes); with a box
            head to a list of these and its output, see `annotator.models.box_head`.
        version: short digest of configuration and weights, written beside every annotation.
        examples: labelled regions that it learnt from; None where none were kept.
    """

    configuration: Configuration
    network: keras.Model
    version: str
    examples: Examples | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self.configuration.name

    @property
    def has_boxes(self) -> bool:
        """Whether the network has a box head, and so two outputs."""
        return self.configuration.box_score is not None

    @cached_property
    def inference_network(self) -> keras.Model:
        """The network for looking at pictures: same variables, same answers but for rounding, a third faster."""
        return fused(self.network)

    @property
    def labels(self) -> tuple[Label, ...]:
        """What detections are called."""
        return self.configuration.labels

    @property
    def threshold(self) -> float:
        """The score from which a detection is shown by default, whatever its label."""
        return self.configuration.threshold

    @property
    def thresholds(self) -> np.ndarray:
        """(labels,) the score from which each label is shown by default."""
        own = self.configuration.thresholds or (self.configuration.threshold,) * len(self.labels)
        return np.array(own)


def version_of(configuration: Configuration, weights_sha256: str) -> str:
    """Twelve hexadecimal digits that change with the configuration or the weights."""
    text = json.dumps(asdict(configuration), sort_keys=True) + weights_sha256
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def save(model: Model, path: Path) -> None:
    """Write a bundle: a zip if ``path`` ends in .zip, else a folder, made when it is missing."""
    contents = {
        CONFIGURATION: json.dumps({"format": FORMAT} | asdict(model.configuration), indent=1).encode(),
        WEIGHTS: safetensors.numpy.save({weight.path: np.asarray(weight) for weight in model.network.weights}),
    }
    if model.examples is not None:
        contents[EXAMPLES] = examples.to_bytes(model.examples)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return
    path.mkdir(parents=True, exist_ok=True)
    (path / EXAMPLES).unlink(missing_ok=True)  # of a model that was here before
    for name, content in contents.items():
        (path / name).write_bytes(content)


def load(path: Path) -> Model:
    """Read a bundle, folder or zip, and build its network.

    Raises:
        AnnotatorError: (BAD_MODEL) the bundle is missing, damaged, too big, or of another format.
    """
    try:
        contents = _read_zip(path) if path.is_file() else _read_folder(path)
        configuration = _parse(contents[CONFIGURATION])
        boxes = configuration.box_score is not None
        network = build_network(configuration.backbone, len(configuration.class_labels), boxes=boxes)
        _assign(network, safetensors.numpy.load(contents[WEIGHTS]))
        kept = examples.from_bytes(contents[EXAMPLES]) if EXAMPLES in contents else None
        if kept is not None and kept.features.shape[1] != network.get_layer("head").kernel.shape[0]:
            raise ValueError(f"its examples have {kept.features.shape[1]} features, its head takes others")
    except (
        *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, safetensors.SafetensorError),
    ) as error:
        raise AnnotatorError(
            f"The model {path.name!r} cannot be used: {error}. Train it again, or name another model or training job.",
            ExitCode.BAD_MODEL,
        ) from error
    version = version_of(configuration, hashlib.sha256(contents[WEIGHTS]).hexdigest())
    return Model(configuration, network, version, kept)


def _read_folder(path: Path) -> dict[str, bytes]:
    names = [name for name in MAXIMUM_BYTES if name != EXAMPLES or (path / name).exists()]
    for name in names:
        if (path / name).stat().st_size > MAXIMUM_BYTES[name]:
            raise ValueError(f"{name} is larger than {MAXIMUM_BYTES[name]} bytes")
    return {name: (path / name).read_bytes() for name in names}


def _read_zip(path: Path) -> dict[str, bytes]:
    # Nothing is extracted to disk, so a name with ".." in it has nowhere to go; such a bundle is refused all the same.
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
        if names not in (sorted((CONFIGURATION, WEIGHTS)), sorted(MAXIMUM_BYTES)):
            raise ValueError(f"it must hold {CONFIGURATION} and {WEIGHTS}, it holds {archive.namelist()[:5]}")
        contents = {}
        for name in names:
            limit = MAXIMUM_BYTES[name]
            with archive.open(name) as file:
                contents[name] = file.read(limit + 1)
            if len(contents[name]) > limit:
                raise ValueError(f"{name} is larger than {limit} bytes")
    return contents


def _parse(content: bytes) -> Configuration:
    values: dict[str, Any] = json.loads(content)
    found = values.pop("format", None)
    if found != FORMAT:
        raise ValueError(f"it has format {found}, this program reads format {FORMAT}")
    values["name"] = str(values["name"])
    values["labels"] = tuple(
        Label(str(label["name"]), None if label["mimo_id"] is None else int(label["mimo_id"]))
        for label in values["labels"]
    )
    values["class_labels"] = tuple(int(position) for position in values["class_labels"])
    values["thresholds"] = tuple(values.get("thresholds", ()))
    for name in ("lineage", "test_pictures", "development_pictures", "training_pictures"):
        values[name] = tuple(map(str, values.get(name, ())))
    if values.get("box_score") is not None:
        a, b, c = values["box_score"]
        values["box_score"] = (float(a), float(b), float(c))
    slope, constant = values.get("odds_score", (1.0, 0.0))
    values["odds_score"] = (float(slope), float(constant))
    return Configuration(**values)


def _assign(network: keras.Model, weights: dict[str, np.ndarray]) -> None:
    wanted = {weight.path: weight for weight in network.weights}
    if wanted.keys() != weights.keys():
        raise ValueError(f"its weights are not those of the network: {sorted(wanted.keys() ^ weights.keys())[:3]}")
    for path, weight in wanted.items():
        values = weights[path]
        if values.shape != tuple(weight.shape) or not np.isfinite(values).all():
            raise ValueError(f"its weight {path} has shape {values.shape} or is not finite, wanted {weight.shape}")
        weight.assign(values)
