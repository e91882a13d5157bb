"""The stage that learns names from labelled pictures, and from unlabelled ones to go by what both kinds share.

Labelled pictures, photographs as a rule, are the source; the target are pictures that nobody labelled, for example the
artworks of a project. See `training.adversarial`. Mode *head* learns a linear map of the frozen backbone's features,
which then becomes part of the head, so that the model stays what it is; mode *full* trains every layer but batch
normalisation, which keeps the statistics it came with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import bundle
from annotator.models.bundle import Model
from annotator.pictures import picture_files
from training import adversarial, devices, evaluate, loop, photographs, plots, runs, transfer
from training.datasets import Picture, labels_of
from training.head import class_weights
from training.runs import Settings
from training.samples import SIDE, Sample, load, samples_of, varied
from training.splits import Fingerprint, readable

HALF = transfer.BATCH // 2
RATES = {"head": 1e-2, "full": 1e-3}  # of learning; Ganin et al. 2016 take a tenth for layers that know ImageNet
WIDTHS = (1024, 1024)  # of the domain head, as there for photographs
WINDOWS = 3  # of each unlabelled picture
HELD = 0.2  # share of the unlabelled pictures that is not learnt from
TARGET = "target.npz"  # features of the unlabelled pictures

FeatureSplit = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # features and targets, learnt, held


@dataclass(frozen=True)
class AdversarialSettings(Settings):
    """`Settings`, and what adversarial training takes besides.

    Attributes:
        target: folder of unlabelled pictures, at any depth.
        variant: of `adversarial.VARIANTS`.
    """

    target: str
    variant: str


def run(settings: AdversarialSettings, out: Path) -> Model:
    """Train on labelled pictures with unlabelled ones as target, and leave the model in ``out/model``.

    The run folder is that of `photographs.run`; its ``curves.png`` shows label loss, domain accuracy and lambda,
    ``features.png`` a map of the features before and after. It goes on where it was killed.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL, BAD_IMAGE) as `photographs.run`; there is too little of the target; it
            shares pictures with the source, or holds pictures that the model is to be judged by.
    """
    devices.prepare(settings.seed)
    begun = bundle.load(Path(settings.model)) if settings.model else None
    runs.claim(out, settings, begun)
    unlabelled = target_pictures(Path(settings.target), begun)
    _, fingerprints = runs.read_sources(settings)
    pictures = photographs.enough(list(fingerprints))
    adversarial.check_apart(_by_file(fingerprints), _by_file(unlabelled))
    table = out / runs.SPLITS
    parts = runs.part(list(fingerprints), fingerprints, begun, settings.seed, table, unlabelled).only(pictures)

    labels = labels_of(pictures)
    print(
        f"{len(pictures)} labelled pictures of {len(labels)} instruments: {runs.sizes(parts)}; {len(unlabelled)} "
        "unlabelled ones.",
        flush=True,
    )
    start = transfer.extended(begun, labels) if begun else transfer.start(settings.backbone, settings.weights, labels)
    targets = target_samples(start, [picture.path for picture in unlabelled])
    order = np.random.default_rng(settings.seed).permutation(len(unlabelled))
    held_files = {list(unlabelled)[number].path for number in order[: math.ceil(HELD * len(order))]}
    own = [sample for sample in targets if sample.path not in held_files]
    held_own = [sample for sample in targets if sample.path in held_files]
    training, development, test = (
        samples_of(part, start.labels) for part in (parts.training, parts.development, parts.test)
    )
    adversarial.check_enough(np.array([sample.target for sample in training]), len(own), HALF)

    seen = photographs.features(start, training, development, out / photographs.FEATURES, settings.seed)
    other = photographs.features(start, own, held_own, out / TARGET, settings.seed)
    transfer.train_head(start, *seen)
    if settings.mode == "head":
        after = train_head(start, seen, other, settings, out)
    else:
        after = _train_full(start, (training, development), (own, held_own), settings, out)
    plots.adversarial_curves(out / loop.LOG, adversarial.reversal_strength, out / "curves.png")
    plots.feature_map({"before": (seen[1][0], other[1][0]), "after": after}, out / "features.png")
    learnt = replace(parts, training=(*parts.training, *unlabelled))
    stage = f"{settings.variant} towards {Path(settings.target).name}"
    return photographs.finish(start, stage, settings, development, test, fingerprints | unlabelled, learnt, out)


def target_pictures(folder: Path, begun: Model | None) -> dict[Picture, Fingerprint]:
    """The unlabelled pictures of a folder that can be read, with their fingerprints.

    Args:
        folder: pictures at any depth.
        begun: the model of the stage before.

    Raises:
        AnnotatorError: (USAGE) there are none, or the model was tested on some; (BAD_IMAGE) none can be read.
    """
    files = picture_files(folder)
    if not files:
        raise AnnotatorError(
            f"There are no pictures in {str(folder)!r}. Give the folder of the unlabelled pictures.", ExitCode.USAGE
        )
    found = readable([Picture(file, str(file), complete=False) for file in files])
    tested = set(begun.configuration.test_pictures) if begun else set()
    judged = [picture.path for picture, one in found.items() if one.sha256 in tested]
    if judged:
        named = ", ".join(repr(str(file)) for file in judged[: adversarial.NAMED])
        raise AnnotatorError(
            f"Leak: the model is tested on {len(judged)} of the unlabelled pictures: {named}. Take them out.",
            ExitCode.USAGE,
        )
    return found


def target_samples(model: Model, files: Sequence[Path]) -> list[Sample]:
    """The windows of unlabelled pictures in which a model sees instruments the most, `WINDOWS` of each picture.

    Args:
        model: what decides; nobody's labels do.
        files: the pictures.
    """
    samples = []
    for number, file in enumerate(files, start=1):
        boxes = evaluate.detections_of(model, file).boxes[:WINDOWS].tolist()
        samples += [Sample(file, (box[0], box[1], box[2], box[3]), -1) for box in boxes] or [Sample(file, None, -1)]
        if number % 10 == 0 or number == len(files):
            print(f"{number} of {len(files)} unlabelled pictures scanned", flush=True)
    return samples


def _by_file(fingerprints: dict[Picture, Fingerprint]) -> dict[Path, Fingerprint]:
    return {picture.path: one for picture, one in fingerprints.items()}


def train_head(
    model: Model, seen: FeatureSplit, other: FeatureSplit, settings: AdversarialSettings, out: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Learn a linear map of the features and make it part of the head.

    Args:
        model: its head's weights are changed.
        seen: features and targets of the source, those learnt from and those held back.
        other: the same of the target; its targets are not read.
        settings: variant, epochs and seed count.
        out: folder in which progress is kept.

    Returns:
        The features that were held back, of source and target, after the map.
    """
    (features, targets), held = seen
    turn, shift, kernel, bias = learn_map(
        model.network.get_layer("head").get_weights(),
        np.array(model.configuration.class_labels),
        (features, targets, class_weights(targets, len(model.labels)).astype(np.float32)),
        held,
        (other[0][0], other[1][0]),
        out,
        variant=settings.variant,
        epochs=settings.epochs,
        seed=settings.seed,
    )
    model.network.get_layer("head").set_weights(head_after(turn, shift, kernel, bias))
    after = [values + values @ turn + shift for values in (held[0], other[1][0])]
    return after[0], after[1]


def learn_map(
    start: Sequence[np.ndarray],
    class_labels: np.ndarray,
    source: tuple[np.ndarray, np.ndarray, np.ndarray],
    held: tuple[np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray],
    out: Path,
    *,
    variant: str,
    epochs: int,
    seed: int,
) -> list[np.ndarray]:
    """Learn a linear map of features, f + f turn + shift, after which source and target look alike, and a head on it.

    Args:
        start: kernel (channels, classes) and bias (classes,) of the label head that learning starts from.
        class_labels: (classes,) the label of each class, -1 for "no instrument".
        source: features (n, channels), labels (n,) and weights (n,).
        held: features and labels of the source that are not learnt from.
        target: features (m, channels) that are learnt from, and features that are not.
        out: folder in which progress is kept.
        variant: of `adversarial.VARIANTS`.
        epochs: how many.
        seed: of everything random.

    Returns:
        turn (channels, channels), shift (channels,), kernel and bias: what `head_after` makes one head of.

    Raises:
        AnnotatorError: (USAGE) see `adversarial.check_enough`.
    """
    channels = source[0].shape[-1]
    values, features = keras.Input((channels,)), keras.Input((channels,))
    change = keras.layers.Dense(channels, kernel_initializer="zeros", name="change")(values)
    extractor = keras.Model(values, keras.layers.Add()([values, change]))  # begins as the features are
    head = keras.Model(features, keras.layers.Dense(len(class_labels))(features))
    head.set_weights(start)
    network = adversarial.adversarial_network(extractor, head, variant, WIDTHS, seed)
    adversarial.train(
        network,
        transfer.label_loss(class_labels.tolist()),
        source,
        target[0],
        held,
        target[1],
        out,
        rate=RATES["head"],
        epochs=epochs,
        half=HALF,
        seed=seed,
    )
    return [*extractor.get_layer("change").get_weights(), *head.get_weights()]


def head_after(turn: np.ndarray, shift: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """Kernel and bias of the head that says of features f what the given head says of f + f turn + shift.

    Args:
        turn: (channels, channels).
        shift: (channels,).
        kernel: (channels, classes).
        bias: (classes,).
    """
    return [kernel + turn @ kernel, bias + shift @ kernel]


def _train_full(
    model: Model,
    source: tuple[Sequence[Sample], Sequence[Sample]],
    target: tuple[Sequence[Sample], Sequence[Sample]],
    settings: AdversarialSettings,
    out: Path,
) -> tuple[np.ndarray, np.ndarray]:
    """Train every layer but batch normalisation, and give the held-back features after it."""
    extractor, head = parts_of(model)
    views = 1 + transfer.VIEWS
    targets, held_targets = (np.array([sample.target for sample in samples]) for samples in source)
    targets = np.tile(targets, views)
    adversarial.train(
        adversarial.adversarial_network(extractor, head, settings.variant, WIDTHS, settings.seed),
        transfer.label_loss(model.configuration.class_labels),
        (Views(source[0], views, settings.seed), targets, class_weights(targets, len(model.labels)).astype(np.float32)),
        Views(target[0], views, settings.seed),
        (Views(source[1], 1, 0), held_targets),
        Views(target[1], 1, 0),
        out,
        rate=RATES["full"],
        epochs=settings.epochs,
        half=HALF,
        seed=settings.seed,
    )
    learnt = transfer.looking(model.network, "features")
    after = [transfer.features_of(learnt, held, 1, settings.seed)[0] for held in (source[1], target[1])]
    return after[0], after[1]


def parts_of(model: Model) -> tuple[keras.Model, keras.Model]:
    """A model as extractor, pixels to mean features, and label head; all but batch normalisation can be trained."""
    for layer in model.network.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    extractor = transfer.pooled(model.network, "features")
    features = keras.Input(extractor.output_shape[1:])
    return extractor, keras.Model(features, model.network.get_layer("head")(features))


class Views:
    """Crops that are read when they are needed, each some times over, all but the first time varied.

    Args:
        samples: n crops.
        views: how often each.
        seed: of the variation, with the position.
    """

    def __init__(self, samples: Sequence[Sample], views: int, seed: int) -> None:
        self.samples, self.views, self.seed = samples, views, seed

    def __len__(self) -> int:
        return len(self.samples) * self.views

    def __getitem__(self, positions: Any) -> np.ndarray:
        """(k, SIDE, SIDE, 3) uint8 of k positions, of which the first n are the crops as they are."""
        crops = np.empty((len(positions), SIDE, SIDE, 3), np.uint8)
        for row, position in zip(crops, positions.tolist(), strict=True):
            crop = load(self.samples[position % len(self.samples)])
            new = position >= len(self.samples)
            row[...] = varied(crop, np.random.default_rng((self.seed, position))) if new else crop
        return crops
