"""Do restyled copies help? Heads trained on photographs with and without them, judged on instruments in artworks.

Judged are crops of the instruments, by name, and what is found in the whole artworks, whatever it is called.

The backbone stays as it came from ImageNet, so this says what restyling gives to a head, not to a whole network.
Styles are those of artworks without instruments: nothing that is judged lends its style.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from annotator.detection.windows import label_probabilities
from annotator.models.bundle import Label, Model
from annotator.pictures import open_rgb
from benchmarks import accuracy, composites, kept
from training import datasets, devices, evaluate, feedback, metrics, splits, transfer
from training.datasets import Picture, labels_of
from training.head import class_weights, fit_head, negative_log_likelihood
from training.samples import Sample, crop, load, samples_of, varied
from training.style import stylise
from training.style.mixstyle import mixing

EACH = 30  # photographs of each instrument
SEEDS = range(5)  # of the split; the copies are the same
KINDS = ("none", "reinhard", "fourier", "arbitrary", "mixstyle")
MIXED_AFTER = ("blocks_0_bn2", "blocks_2_add")  # the first two resolutions
RESAMPLES = 1000
DETECTION_IOUS = (0.1, 0.5)


def crops(kind: str, samples: list[Sample]) -> Iterator[np.ndarray]:
    """A varied crop of each sample, restyled before where the kind says so."""
    restyle = None if kind in ("none", "mixstyle") else stylise.restyler(kind)
    rows = accuracy.rows("images.csv")
    styles = [open_rgb(accuracy.ARTWORKS / "images" / row["file"]) for row in rows if row["positive"] == "0"]
    for number, sample in enumerate(samples):
        random = np.random.default_rng((0, number))
        own, style = load(sample), styles[random.integers(len(styles))]
        yield varied(own if restyle is None else crop(restyle(own, style), None), random)


def features(network: object, pictures: Iterator[np.ndarray], *, training: bool = False) -> np.ndarray:
    """(n, channels) mean features of crops."""
    rows, batch = [], list[np.ndarray]()
    for picture in pictures:
        batch.append(picture)
        if len(batch) == transfer.BATCH:
            rows.append(np.asarray(network(np.stack(batch), training=training)))  # type: ignore[operator]
            batch = []
    if batch:
        rows.append(np.asarray(network(np.stack(batch), training=training)))  # type: ignore[operator]
    return np.concatenate(rows)


def found_any(
    model: Model,
    heads: Sequence[tuple[np.ndarray, np.ndarray]],
    maps: Sequence[feedback.Seen],
    truths: Sequence[metrics.Truth],
) -> dict[str, np.ndarray]:
    """Average precision of any instrument at each of `DETECTION_IOUS`, a mean over heads, on resamples of pictures.

    Args:
        model: its head is replaced.
        heads: kernel and bias of each.
        maps: of each picture, what the backbone sees there.
        truths: of each picture.
    """
    drawn = metrics.draws(len(truths))
    values: dict[str, list[np.ndarray]] = {}
    for head in heads:
        model.network.get_layer("head").set_weights(head)
        found = []
        for own in maps:
            one = kept.found(model, own)
            found.append((one.boxes, one.scores))
        for iou in DETECTION_IOUS:
            precision = metrics.judge(found, truths, iou).average_precision(drawn)
            values.setdefault(f"any_ap@{iou}", []).append(precision)
    return {name: np.mean(own, axis=0) for name, own in values.items()}


def photographs() -> list[Picture]:
    """`EACH` photographs of every instrument, the first in the table's order."""
    taken: dict[Label, int] = {}
    chosen = []
    for picture in datasets.read(composites.PHOTOGRAPHS):
        label = picture.regions[0].label
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= EACH:
            chosen.append(picture)
    return chosen


def run() -> dict[str, object]:
    """Macro-F1 of crops of artworks and photographs, average precision on artworks: means over seeds, by kind.

    Intervals are 95 % bootstrap intervals over the crops, or artworks, of means over the seeds and of their differences
    to none; the resamples are the same for all kinds.
    """
    if not (composites.PHOTOGRAPHS.exists() and accuracy.ARTWORKS.exists()):
        return {"skipped": "the photographs and artworks do not lie beside the project"}
    devices.prepare(0)
    pictures = photographs()
    model = transfer.start("efficientnet-lite0", "imagenet", labels_of(pictures))
    model.network.trainable = False
    network = transfer.pooled(model.network, "features")
    samples = samples_of(pictures, model.labels)
    known = set(labels_of(pictures))
    judged = [
        sample
        for sample in samples_of(datasets.read(accuracy.ARTWORKS), model.labels)
        if model.labels[sample.target] in known
    ]
    art_targets = np.array([sample.target for sample in judged])
    targets = np.array([sample.target for sample in samples])
    art = features(network, (load(sample) for sample in judged))
    plain = features(network, (load(sample) for sample in samples))
    # Those without instruments lend their styles, so they do not judge.
    artworks = [picture for picture in datasets.read(accuracy.ARTWORKS, "coco") if picture.regions]
    truths = [evaluate.truth_of(picture.regions) for picture in artworks]
    maps = list(feedback.look(model, artworks))
    second = {}
    for kind in KINDS:
        looking = mixing(network, MIXED_AFTER, 0) if kind == "mixstyle" else network
        second[kind] = features(looking, crops(kind, samples), training=kind == "mixstyle")
        print(f"{kind}: {len(samples)} crops seen", flush=True)

    prints = splits.readable(pictures)
    position = {picture: number for number, picture in enumerate(pictures)}
    class_labels = np.array(model.configuration.class_labels)
    kernel, bias = model.network.get_layer("head").get_weights()
    strength = None
    predictions: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    photograph_scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
    heads: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {kind: [] for kind in KINDS}
    for seed in SEEDS:
        parts = splits.split(list(prints), list(prints.values()), seed)
        training, development, test = (
            np.array([position[picture] for picture in part])
            for part in (parts.training, parts.development, parts.test)
        )
        for kind in KINDS:
            seen = np.concatenate([plain[training], second[kind][training]])
            wanted = np.tile(targets[training], 2)
            weights = class_weights(wanted, len(model.labels)) / len(wanted)

            def fitted(penalty: float, seen=seen, wanted=wanted, weights=weights) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
                return fit_head(seen, wanted, class_labels, kernel, bias, penalty, weights)

            if strength is None:  # chosen once, on photographs, without copies
                losses = {}
                for penalty in transfer.STRENGTHS:
                    head = fitted(penalty)
                    logits = plain[development] @ head[0] + head[1]
                    losses[penalty] = negative_log_likelihood(logits, targets[development], class_labels).mean()
                strength = min(losses, key=lambda penalty: losses[penalty])
            head = fitted(strength)
            heads[kind].append(head)
            for own, found in ((art, predictions[kind]), (plain[test], None)):
                predicted = label_probabilities(own @ head[0] + head[1], class_labels).argmax(axis=1)
                if found is not None:
                    found.append(predicted)
                else:
                    photograph_scores[kind].append(metrics.macro_f1(targets[test], predicted))
        print(f"seed {seed}: heads trained", flush=True)

    drawn = [np.arange(len(judged))]
    random = np.random.default_rng(0)
    drawn += [random.integers(0, len(judged), len(judged)) for _ in range(RESAMPLES)]
    scores = {
        kind: np.array(
            [
                np.mean([metrics.macro_f1(art_targets[rows], found[rows]) for found in predictions[kind]])
                for rows in drawn
            ]
        )
        for kind in KINDS
    }
    precisions = {}
    for kind in KINDS:
        precisions[kind] = found_any(model, heads[kind], maps, truths)
        print(f"{kind}: looked for in {len(artworks)} artworks", flush=True)
    return {
        "photographs": len(samples),
        "artworks": len(artworks),
        "crops_of_artworks": len(judged),
        "instruments_there": len(np.unique(art_targets)),
        "penalty": strength,
        **{
            kind: {
                "macro_f1_artworks": metrics.figure(scores[kind]),
                "by_seed": [round(metrics.macro_f1(art_targets, found), 3) for found in predictions[kind]],
                "difference": metrics.figure(scores[kind] - scores["none"]),
                "macro_f1_photographs": round(float(np.mean(photograph_scores[kind])), 3),
                **{name: metrics.figure(own) for name, own in precisions[kind].items()},
                **{
                    f"{name}_difference": metrics.figure(own - precisions["none"][name])
                    for name, own in precisions[kind].items()
                },
            }
            for kind in KINDS
        },
    }
