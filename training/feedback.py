"""Teach the label head what people said about pictures: minutes on a CPU, and the backbone stays as it is.

The head is linear, so what it says about a window is what it says about the mean of the window's features: windows are
learnt from exactly as the scan scores them. A region that people named gives the windows that fit it. A picture that
they looked through gives windows away from all its instruments, of which those count that the model takes for
instruments (hard negatives, Felzenszwalb et al. 2010, section 4.4); a rejected detection gives the windows where it
was. The head stays near what it was where the pictures say nothing, and what tells instruments in these pictures from
what shows none is learnt for all instruments together, so those without new examples are found better than before. Lest
they are taken for new ones, windows that show them are made up from what the head itself knows of them, and learnt from
besides (`remembered`; `python -m benchmarks forgetting`).

Restyled copies of the pictures may be learnt from besides; nothing is chosen or judged by them. With unlabelled
pictures a linear map of the features is learnt first, after which their windows look like those of the labelled ones
(`training.adversarial`); the head is learnt on what the map gives, and both become one head. Such a map also moves what
the head says of instruments without new examples.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit, logit, softmax

from annotator.detection import Detections, detector, extent, windows
from annotator.detection.boxes import intersection_over_union
from annotator.detection.suppression import suppress
from annotator.models.backbones import STRIDE
from annotator.models.bundle import Label, Model
from annotator.models.fused import fused
from annotator.prefetch import prefetched
from training import adapt, calibration, evaluate, metrics, transfer
from training.datasets import Picture, labels_of
from training.datasets.pictures import read_shrunk
from training.head import fit_head, negative_log_likelihood
from training.samples import touches

FITTING = 0.5  # intersection over union from which a window shows a region
MOST_FITTING = 12  # windows of a region, those that fit best
HARD, EASY = 24, 8  # windows that show nothing, of each picture: those most like instruments, and any
HARDEST = 400  # of which the hard ones are chosen
APART = 0.3  # intersection over union that hard windows of a picture may have with each other
NOTHING = 0.5  # share of the loss that windows without an instrument have
STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # of the penalty on the head, the best on pictures left out is taken
SHARED = 0.1  # of that on what moves all instruments of the head alike
REMEMBERED = 0.3  # share of the loss that windows have which are made up for labels without an example
REMEMBERED_EACH = 20  # of them for each such label
LIKELY = 0.5  # probability of its label at which such a window is good enough
STEP = 1 / 16  # of the mean length of features, by which a window is moved towards a label
MOST_STEPS = 64  # after which it is given up
FOLDS = 3  # of the pictures: each in turn is left out, to choose the penalty and the threshold by
REJECTED = 2.0  # weight of a rejected detection against a window that nobody said anything about
LEAST_SLOPE = 0.02  # of the calibration, below which scores say nothing
PRECISION = 0.5  # that the threshold is chosen for
LEAST_PROBABILITY = 0.05  # of being right, below which nothing is shown, however sure the rest is
RIGHT = 0.3  # intersection over union from which a detection is right, where the threshold is chosen
VARIANT, EPOCHS, SEED = "cdan", 10, 0  # of the adversarial training
ROOM = 32 << 20  # bytes on the disk for what is seen in a picture, twice what the largest take
HELD = 5  # one artwork in so many of either domain does not teach the map but chooses its epoch


@dataclass(frozen=True)
class Examples:
    """Windows that the label head learns from.

    Attributes:
        features: (n, channels) float32, the mean of the feature map over each window.
        targets: (n,) positions of labels, -1 for "no instrument".
        weights: (n,) how much each counts against others of its label; those of one region add up to the region's.
        pictures: (n,) the position of each one's picture.
    """

    features: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    pictures: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Examples:
        return Examples(*(getattr(self, one.name)[index] for one in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Examples]) -> Examples:
        """All examples of several."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))


@dataclass(frozen=True)
class Seen:
    """What the backbone sees in one picture.

    Attributes:
        levels: of the pyramid, largest first, with features (rows, columns, channels) in place of logits.
        width: of the file in pixels.
        height: the same.
    """

    levels: list[windows.Level]
    width: int
    height: int

    def said(self, kernel: np.ndarray, bias: np.ndarray) -> list[windows.Level]:
        """The levels with the logits that a head gives."""
        return [replace(level, logits=level.logits @ kernel + bias) for level in self.levels]


See = Callable[[Sequence[Picture]], Iterator[Seen]]  # `look` of one model


def look(model: Model, pictures: Sequence[Picture]) -> Iterator[Seen]:
    """What a model's backbone sees in each picture; one picture is held at a time."""
    trunk = fused(keras.Model(model.network.input, model.network.get_layer("head").input))

    def read() -> Iterator[tuple[list[tuple[np.ndarray, int, int]], int, int]]:
        for picture in pictures:
            image, width, height = read_shrunk(picture.path)
            yield list(detector.level_pictures(model, image)), width, height

    for number, (levels, width, height) in enumerate(prefetched(read()), start=1):
        seen = [(trunk.predict_on_batch(pixels[None])[0], *size) for pixels, *size in levels]
        yield Seen([windows.Level(*level) for level in seen], width, height)
        if number % 10 == 0 or number == len(pictures):
            print(f"{number} of {len(pictures)} pictures looked at", flush=True)


def keep(model: Model, pictures: Sequence[Picture], folder: Path) -> See:
    """Look at pictures and write down what was seen, at 16 bits: some ten megabytes a picture.

    Args:
        model: whose backbone looks.
        pictures: at what.
        folder: where it is written.

    Returns:
        What was seen in some of these pictures, read again.
    """
    file_of = {picture.path: folder / f"seen_{number}.npz" for number, picture in enumerate(pictures)}
    for picture, seen in zip(pictures, look(model, pictures), strict=True):
        sizes = [*((level.width, level.height) for level in seen.levels), (seen.width, seen.height)]
        np.savez(file_of[picture.path], np.array(sizes), *(level.logits.astype(np.float16) for level in seen.levels))

    def see(pictures: Sequence[Picture]) -> Iterator[Seen]:
        for picture in pictures:
            with np.load(file_of[picture.path], allow_pickle=False) as stored:
                sizes, *maps = (stored[f"arr_{number}"] for number in range(len(stored.files)))
            *of_levels, (width, height) = sizes.tolist()
            levels = [windows.Level(own.astype(np.float32), *size) for own, size in zip(maps, of_levels, strict=True)]
            yield Seen(levels, width, height)

    return see


def examples_of(
    seen: Seen,
    picture: Picture,
    number: int,
    position_of: dict[Label, int],
    scored: windows.Windows,
) -> Examples:
    """The windows of one picture that there is something to learn from.

    Args:
        seen: the picture.
        picture: what people said about it.
        number: of the picture, which also decides the easy windows.
        position_of: the position of each label.
        scored: its windows that a head takes for instruments, of which hard ones are chosen.
    """
    of_level = [windows.window_cells(*level.logits.shape[:2]) for level in seen.levels]
    every = np.concatenate([np.insert(cells, 0, level, axis=1) for level, cells in enumerate(of_level)])
    boxes = _in_pixels(seen, every)
    regions = np.array([region.box for region in picture.regions], float).reshape(-1, 4)

    chosen, targets, weights = [np.zeros((0, 5), int)], [], []
    for region, box in zip(picture.regions, regions, strict=True):
        if not region.difficult:
            fitting = _fitting(boxes, box)
            chosen.append(every[fitting])
            targets += [position_of[region.label]] * len(fitting)
            weights += [region.weight / len(fitting)] * len(fitting)
    for box in np.array(picture.rejected, float).reshape(-1, 4):
        fitting = _fitting(boxes, box)
        fitting = fitting[~touches(boxes[fitting], regions)]
        chosen.append(every[fitting])
        targets += [-1] * len(fitting)
        weights += [REJECTED / max(1, len(fitting))] * len(fitting)
    if picture.complete:
        hard = _hard_windows(scored, seen, regions)
        alone = np.flatnonzero(~touches(boxes, regions))
        easy = np.random.default_rng(number).choice(alone, min(EASY, len(alone)), replace=False)
        chosen += [hard, every[easy]]
        targets += [-1] * (len(hard) + len(easy))
        weights += [1.0] * (len(hard) + len(easy))
    picked = np.concatenate(chosen)
    features = np.empty((len(picked), seen.levels[0].logits.shape[-1]), np.float32)
    for i, level in enumerate(seen.levels):
        here = picked[:, 0] == i
        if here.any():
            features[here] = windows.window_means(windows.integral_image(level.logits), picked[here, 1:])
    return Examples(features, np.array(targets, int), np.array(weights), np.full(len(picked), number))


def _in_pixels(seen: Seen, picked: np.ndarray) -> np.ndarray:
    """(n, 4) boxes in pixels of the file, of windows (n, 5): position of the level, then x0, y0, x1, y1 in cells."""
    sides = np.array([(level.width, level.height) * 2 for level in seen.levels])[picked[:, 0]]
    return np.minimum(picked[:, 1:] * STRIDE / sides, 1.0) * ([seen.width, seen.height] * 2)


def _hard_windows(scored: windows.Windows, seen: Seen, regions: np.ndarray) -> np.ndarray:
    """At most `HARD` windows, (n, 5) level and cells, that a head takes for instruments and that show none."""
    boxes = scored.boxes * ([seen.width, seen.height] * 2)
    alone = np.flatnonzero(~touches(boxes, regions))
    scores = scored.probabilities[alone].sum(axis=1)
    hardest = alone[np.argsort(-scores, kind="stable")[:HARDEST]]
    labels = np.zeros(len(hardest), int)
    ranks = -np.arange(len(hardest), dtype=float)
    kept = hardest[suppress(boxes[hardest], labels, ranks, same_label=APART, other_label=APART)][:HARD]
    return np.column_stack([scored.levels, scored.cells])[kept]


def _fitting(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Positions of the windows that show a region: those that fit it well, or the one that fits it best."""
    overlaps = intersection_over_union(boxes, box)
    best = np.argsort(-overlaps, kind="stable")[:MOST_FITTING]
    return best[overlaps[best] >= min(FITTING, float(overlaps[best[0]]))]


def fit(
    examples: Examples, class_labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """The head, kernel and bias, that the examples, and what is `remembered`, move from the one given (`fit_head`)."""
    return next(_fits(examples, class_labels, kernel, bias, [strength]))


def _fits(
    examples: Examples, class_labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray, strengths: Sequence[float]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`fit` with each of several penalties."""
    made_up, labels = remembered(examples, class_labels, kernel, bias)
    features = np.concatenate([examples.features, made_up])
    targets = np.append(examples.targets, labels)
    share = REMEMBERED if len(labels) else 0.0
    of_each = np.full(len(labels), share / max(1, len(labels)))
    weights = np.append((1 - share) * balanced(examples), of_each)
    for strength in strengths:
        yield fit_head(features, targets, class_labels, kernel, bias, strength, weights, SHARED)


def remembered(
    examples: Examples, class_labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Windows made up for the labels without an example, from what a head knows of them (Robins 1995).

    Each is one that shows nothing, moved towards a class of its label until the head thinks the label as likely as not.
    The way to a class is what the head weighs for it, for in a trained network that is nearly the way to the mean of
    its features (Papyan et al. 2020).

    Args:
        examples: what there is to learn from; without any that show nothing, all are taken to start from.
        class_labels: (classes,) the label of each class.
        kernel: (channels, classes) of the head before it learns.
        bias: (classes,) of it.

    Returns:
        Features (n, channels) float32, as rectified as those of the examples, and (n,) labels.
    """
    missing = np.setdiff1d(class_labels[class_labels >= 0], examples.targets)
    towards = [np.resize(np.flatnonzero(class_labels == label), REMEMBERED_EACH) for label in missing]
    classes = np.concatenate([np.zeros(0, int), *towards])
    nothing = examples.features[examples.targets == -1]
    if not len(nothing):
        nothing = examples.features
    features = nothing[np.random.default_rng(SEED).integers(len(nothing), size=len(classes))]
    ways = (kernel[:, classes] - kernel.mean(axis=1, keepdims=True)).T
    lengths = np.linalg.norm(ways, axis=1, keepdims=True)
    step = STEP * np.linalg.norm(nothing, axis=1).mean()
    steps = np.divide(step * ways, lengths, out=np.zeros_like(ways), where=lengths > 0)
    under_way = np.arange(len(classes))
    for _ in range(MOST_STEPS):
        said = softmax(features[under_way] @ kernel + bias, axis=1)
        own = np.where(class_labels == class_labels[classes[under_way], None], said, 0).sum(axis=1)
        under_way = under_way[own < LIKELY]
        moved = features[under_way] + steps[under_way]
        features[under_way] = np.clip(moved, examples.features.min(), examples.features.max())
    there = np.setdiff1d(np.arange(len(classes)), under_way)
    return features[there], class_labels[classes[there]]


def balanced(examples: Examples) -> np.ndarray:
    """(n,) weights that add up to 1: windows without an instrument have `NOTHING` of it, labels alike share the rest.

    Within a label examples share by their own weights. Where all show an instrument, or none does, they have all of it.
    """
    sums: np.ndarray = np.bincount(examples.targets + 1, examples.weights)
    shares: np.ndarray = np.where(sums > 0, (1 - NOTHING) / max(1, int((sums[1:] > 0).sum())), 0.0)
    shares[0] = NOTHING if sums[0] > 0 else 0.0
    per_weight = np.divide(shares / shares.sum(), sums, out=np.zeros(len(sums)), where=sums > 0)
    return examples.weights * per_weight[examples.targets + 1]


def folds_of(pictures: Sequence[Picture], folds: int = FOLDS) -> np.ndarray:
    """(n,) which of at most ``folds`` each picture is in: those of one group together, each label spread evenly."""
    first: dict[str, tuple[str, str]] = {}
    for picture in pictures:
        names = [region.label.name for region in picture.regions if not region.difficult]
        first.setdefault(picture.group, (min(names, default=""), picture.group))
    fold_of = {group: number % folds for number, (_, group) in enumerate(sorted(first.values()))}
    return np.array([fold_of[picture.group] for picture in pictures])


def learn(
    begun: Model,
    pictures: Sequence[Picture],
    copies: Sequence[Picture] = (),
    unlabelled: Sequence[Picture] = (),
    see: See | None = None,
) -> Model:
    """A model that knows what people said about pictures, besides what it knew.

    What the backbone sees in each picture is judged twice: first for windows to learn from, chosen by what ``begun``
    takes for instruments; then by heads that have not learnt from the picture, for the windows that still fool them,
    for the scores and for the threshold. The penalty is chosen on pictures left out too. Meanwhile what is seen lies in
    temporary files; where there is no room for them the backbone looks twice.

    Args:
        begun: where to start.
        pictures: what is learnt from, at least one region among them; each has a box.
        copies: of pictures, in the same groups, that are learnt from besides; penalty and threshold do not see them.
        unlabelled: pictures whose features are to look like those of the others; empty for none of that.
        see: what the backbone of ``begun`` sees in pictures, where the caller has kept it.

    Returns:
        The model, with labels for all regions and one threshold for all of them. A box head stays as it is.

    Raises:
        AnnotatorError: (USAGE) there are unlabelled pictures, but too few, or there is only one thing to tell apart.
    """
    every = [*pictures, *copies]
    with contextlib.ExitStack() as stack:
        if see is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="seen-"))
            see = _kept_if_room(begun, every, Path(folder))
        return _learn(begun, pictures, every, unlabelled, see)


def _learn(
    begun: Model, pictures: Sequence[Picture], every: Sequence[Picture], unlabelled: Sequence[Picture], see: See
) -> Model:
    """`learn`, once it is settled how pictures are seen; ``every`` begins with ``pictures``, then come the copies."""
    model = transfer.extended(begun, labels_of(pictures))
    class_labels = np.array(model.configuration.class_labels)
    position_of = {label: number for number, label in enumerate(model.labels)}
    layer = model.network.get_layer("head")
    kernel, bias = (np.asarray(weight) / begun.configuration.temperature for weight in layer.get_weights())
    folds = folds_of(every)

    first = []
    for number, seen in enumerate(see(every)):
        scored = windows.score_windows(seen.said(kernel, bias), class_labels)
        first.append(examples_of(seen, every[number], number, position_of, scored))
    examples = Examples.joined(first)
    target = _target(model, unlabelled, class_labels, kernel, bias) if unlabelled else None
    strength = _best_strength(examples, folds, len(pictures), class_labels, kernel, bias)

    def head_of(own: Examples) -> tuple[np.ndarray, np.ndarray]:
        if not len(own.targets):  # where one picture has all that there is to learn from, and is left out
            return kernel, bias
        fitted = fit(own, class_labels, kernel, bias, strength)
        if target is None:
            return fitted
        turn, shift = _turned(own, every, target, class_labels, fitted)
        turned = replace(own, features=own.features + own.features @ turn + shift)
        fitted = fit(turned, class_labels, kernel, bias, strength)
        joined = adapt.head_after(turn, shift, *fitted)
        return joined[0], joined[1]

    heads = [head_of(examples[folds[examples.pictures] != fold]) for fold in range(FOLDS)]

    more, scores, right = [examples], [np.zeros(0)], [np.zeros(0, bool)]
    for number, seen in enumerate(see(every)):
        levels = seen.said(*heads[folds[number]])
        scored = windows.score_windows(levels, class_labels)
        more.append(examples_of(seen, every[number], number, position_of, scored))
        if number < len(pictures):
            activations = [extent.activation(level, class_labels) for level in levels]
            located = detector.locate(activations, scored, seen.width, seen.height, evaluate.LOWEST)
            located = detector.named_inside(located, activations, seen.width, seen.height)
            one_scores, one_right = _judged(located, pictures[number])
            scores.append(one_scores)
            right.append(one_right)
    layer.set_weights(head_of(Examples.joined(more)))

    learnt = Model(replace(model.configuration, temperature=1.0), model.network, "")
    return _calibrated(learnt, begun.threshold, np.concatenate(scores), np.concatenate(right))


def _kept_if_room(model: Model, pictures: Sequence[Picture], folder: Path) -> See:
    """What is seen in pictures, kept for the second time if the folder has room for it."""
    if shutil.disk_usage(folder).free > ROOM * len(pictures):
        return keep(model, pictures, folder)
    print(f"There is no room in {folder} for what is seen, so all pictures are looked at twice.", flush=True)
    return partial(look, model)


def _target(
    model: Model, unlabelled: Sequence[Picture], class_labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> Examples:
    """Windows of unlabelled pictures: those that a picture gives of which nobody knows anything but its pixels.

    Whether they show instruments does not matter here: those are taken that the head takes for instruments, and a few
    others, much as labelled pictures give them.
    """
    found = []
    for number, seen in enumerate(look(model, unlabelled)):
        bare = replace(unlabelled[number], regions=(), rejected=(), complete=True)
        scored = windows.score_windows(seen.said(kernel, bias), class_labels)
        found.append(examples_of(seen, bare, number, {}, scored))
    return Examples.joined(found)


def _turned(
    own: Examples,
    pictures: Sequence[Picture],
    target: Examples,
    class_labels: np.ndarray,
    head: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The map of features, turn and shift of `adapt.head_after`, that makes windows and target windows look alike.

    Args:
        own: windows that are learnt from.
        pictures: of which some, or all, gave them; one artwork in `HELD` of these is held back.
        target: windows of unlabelled pictures.
        class_labels: (classes,) the label of each class.
        head: kernel and bias that fit the windows; where the label head starts.
    """
    here, place = np.unique(own.pictures, return_inverse=True)
    held = (folds_of([pictures[number] for number in here], HELD) == 0)[place]
    other_held = target.pictures % HELD == 0
    weights = (balanced(own) * len(own.targets)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="adversarial-") as folder:
        turn, shift, *_ = adapt.learn_map(
            head,
            class_labels,
            (own.features[~held], own.targets[~held], weights[~held]),
            (own.features[held], own.targets[held]),
            (target.features[~other_held], target.features[other_held]),
            Path(folder),
            variant=VARIANT,
            epochs=EPOCHS,
            seed=SEED,
        )
    return turn, shift


def _calibrated(model: Model, threshold: float, scores: np.ndarray, right: np.ndarray) -> Model:
    """The model with scores that say how likely a detection is right, and a threshold of a stated precision.

    Args:
        model: its box head has a score of its own, which stays.
        threshold: that is kept where the scores speak neither for nor against a detection.
        scores: (n,) of detections in pictures that were not learnt from, as the head gives them.
        right: (n,) bool, at most one for each object.
    """
    unchanged = replace(model, configuration=replace(model.configuration, threshold=threshold))
    if model.has_boxes or not right.any() or right.all():
        return unchanged
    odds = logit(np.clip(scores, *detector.CERTAIN))
    slope, constant = calibration.fit_box_score(odds[:, None], right)
    if slope < LEAST_SLOPE:
        return unchanged
    # Where right and wrong are far apart, the sure ones alone would let in as many that are surely wrong.
    chosen = max(LEAST_PROBABILITY, calibration.threshold_expected(expit(slope * odds + constant), PRECISION))
    return replace(model, configuration=replace(model.configuration, odds_score=(slope, constant), threshold=chosen))


def _best_strength(
    examples: Examples, folds: np.ndarray, judging: int, class_labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> float:
    """Of `STRENGTHS` the one with the least loss on pictures left out, of which the first ``judging`` count."""
    losses = dict.fromkeys(STRENGTHS, 0.0)
    weights = balanced(examples)
    for fold in range(FOLDS):
        left_out = folds[examples.pictures] == fold
        held = left_out & (examples.pictures < judging)
        if held.any() and not left_out.all():
            heads = _fits(examples[~left_out], class_labels, kernel, bias, STRENGTHS)
            for strength, (own_kernel, own_bias) in zip(STRENGTHS, heads, strict=True):
                logits = examples.features[held] @ own_kernel + own_bias
                lost = negative_log_likelihood(logits, examples.targets[held], class_labels)
                losses[strength] += weights[held] @ lost
        print(f"head: {fold + 1} of {FOLDS} parts of the pictures left out", flush=True)
    for strength, loss in losses.items():
        print(f"head: penalty {strength:g}, loss on pictures left out {loss:.4f}", flush=True)
    return min(losses, key=lambda strength: losses[strength])


def _judged(located: Detections, picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Scores of what was found in a picture, and whether each overlaps an instrument by `RIGHT` or more."""
    located = located[detector.best_of_each(located)]
    right, counted = metrics.match(located.boxes, located.scores, evaluate.truth_of(picture.regions), RIGHT)
    if not picture.complete:  # what nobody spoke of is neither right nor wrong
        counted &= right
    return located.scores[counted], right[counted]
