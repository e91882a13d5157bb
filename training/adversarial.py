"""Domain-adversarial training: features that name the labelled source and look the same on the unlabelled target.

A domain head learns to tell source from target by the features; the features learn, through a gradient reversal, that
it cannot (Ganin & Lempitsky 2015; Ganin et al. 2016, *DANN*). With *CDAN* (Long et al. 2018) the domain head sees the
features together with what the label head says of them, so that a class is likened to the same class.

Half of each batch is source, half is target. The label loss is that of the source alone; no label of the target is ever
read. Batch normalisation must be frozen in whatever is trained here: both domains are seen with the statistics that
the network came with, for statistics of their own would hide from the domain head what we want the features to lose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from annotator.errors import AnnotatorError, ExitCode
from training import loop
from training.splits import Fingerprint, near_duplicates
from training.transfer import epoch_order

VARIANTS = ("dann", "cdan")
STEEPNESS = 10.0  # of the rise of the strength, gamma in section 5.2.2 of Ganin et al. 2016
FALL, POWER = 10.0, 0.75  # of the learning rate, alpha and beta there
MOMENTUM = 0.9
LARGEST_MAP = 4096  # numbers of an outer product, beyond which it is projected (Long et al. 2018, section 3.2)
PROJECTED = 1024
NAMED = 5  # pairs of files that an error names at the most
RISEN = 0.9  # strength from which an epoch may be chosen: before, nothing has been asked of the features yet


def scaled_gradient(values: Any, factor: Any) -> Any:
    """The values as they are, whose gradient is multiplied by ``factor`` on its way back; -1 reverses it.

    Args:
        values: tensor.
        factor: a number, or a tensor that can be multiplied with the values.
    """
    fixed = ops.stop_gradient(values)
    return fixed + factor * (values - fixed)


def reversal_strength(progress: Any) -> Any:
    """Lambda, which rises from 0 to 1 with the progress of training (Ganin et al. 2016, section 5.2.2).

    Args:
        progress: a number or array in [0, 1].
    """
    return 2 / (1 + np.exp(-STEEPNESS * np.asarray(progress))) - 1


class FallingRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate mu / (1 + 10 p) ** 0.75 at progress p (Ganin et al. 2016, section 5.2.2).

    Args:
        rate: mu, at the beginning.
        steps: of the whole training.
    """

    def __init__(self, rate: float, steps: int) -> None:
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        """The rate at a step, a scalar."""
        return self.rate / (1 + FALL * ops.cast(step, "float32") / self.steps) ** POWER

    def get_config(self) -> dict[str, Any]:
        """What the schedule is made of."""
        return {"rate": self.rate, "steps": self.steps}


def conditional_map(features: Any, probabilities: Any, seed: int) -> Any:
    """Features and what they are taken for as one: their outer product, or a random projection of it where it is large.

    The probabilities are given, not learnt from, as in the authors' program: else the label head would learn to please
    the domain head.

    Args:
        features: (..., d).
        probabilities: (..., k).
        seed: of the projection, whose weights are never trained.

    Returns:
        (..., d k), or (..., PROJECTED) where d k is more than `LARGEST_MAP` (Long et al. 2018, equations 5 and 6).
    """
    # A gradient of zero, not none: else nothing keeps the step from changing the label head before TensorFlow has read
    # it for the target, and one training in ten comes out different.
    probabilities = scaled_gradient(probabilities, 0.0)
    size = features.shape[-1] * probabilities.shape[-1]
    if size <= LARGEST_MAP:
        products = features[..., :, None] * probabilities[..., None, :]
        return ops.reshape(products, (-1, *products.shape[1:-2], size))
    projected = [
        keras.layers.Dense(
            PROJECTED,
            use_bias=False,
            trainable=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=1.0, seed=seed + number),
        )(values)
        for number, values in enumerate((features, probabilities))
    ]
    return projected[0] * projected[1] / math.sqrt(PROJECTED)


def adversarial_network(
    extractor: keras.Model, head: keras.Model, variant: str, widths: tuple[int, ...], seed: int
) -> keras.Model:
    """What is trained: an extractor and a label head, whose weights it shares, with a domain head on the features.

    Args:
        extractor: from an input to features (n, d).
        head: from features to logits (n, k).
        variant: of `VARIANTS`.
        widths: of the hidden layers of the domain head; Ganin et al. 2016 take (100,) for digits and (1024, 1024) for
            photographs.
        seed: of the domain head's first weights.

    Returns:
        From ``source`` and ``target`` (n, ...) and ``strength`` (n,), lambda, to ``label``, the logits of the source,
        and ``domain`` (n, 2), logits for being of the target, of the source's and the target's samples.
    """
    source, target = (keras.Input(extractor.input_shape[1:], name=name) for name in ("source", "target"))
    strength = keras.Input((), name="strength")
    # Each on its own, not as one batch: so the source goes the way that it goes without a target, bit for bit.
    own, other = extractor(source), extractor(target)
    logits = head(own)
    seen = ops.stack([own, other], axis=1)
    if variant == "cdan":
        said = ops.softmax(ops.stack([logits, head(other)], axis=1), axis=-1)
        seen = conditional_map(seen, said, seed)
    seen = scaled_gradient(seen, -strength[:, None, None])
    for number, width in enumerate(widths):
        initializer = keras.initializers.GlorotUniform(seed=seed + 2 + number)
        seen = keras.layers.Dense(width, activation="relu", kernel_initializer=initializer)(seen)
    domain = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 1))(seen)[..., 0]
    return keras.Model({"source": source, "target": target, "strength": strength}, {"label": logits, "domain": domain})


class Halves(keras.utils.PyDataset):
    """Batches of half source and half target.

    Args:
        source: (n, ...) of the source.
        labels: (n,) their labels.
        weights: (n,) their weights.
        target: (m, ...) of the target.
        pairs: (k, 2) positions in source and target, in the order in which they come.
        strengths: (steps,) lambda of each batch.
        half: samples of each in a batch.
    """

    def __init__(
        self,
        source: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray,
        target: np.ndarray,
        pairs: np.ndarray,
        strengths: np.ndarray,
        half: int,
    ) -> None:
        super().__init__()
        self.source, self.labels, self.weights, self.target = source, labels, weights, target
        self.pairs, self.strengths, self.half = pairs, strengths, half

    def __len__(self) -> int:
        return math.ceil(len(self.pairs) / self.half)

    def __getitem__(self, number: int) -> tuple[dict[str, np.ndarray], ...]:
        own, other = self.pairs[number * self.half : (number + 1) * self.half].T
        values = {
            "source": self.source[own].astype(np.float32),
            "target": self.target[other].astype(np.float32),
            "strength": np.full(len(own), self.strengths[number], np.float32),
        }
        wanted = {"label": self.labels[own], "domain": np.tile(np.array([0, 1], np.float32), (len(own), 1))}
        return values, wanted, {"label": self.weights[own], "domain": np.ones(len(own), np.float32)}


def pairs_of(source: int, target: int, half: int, random: np.random.Generator) -> np.ndarray:
    """(k, 2) positions in source and target for an epoch in which each sample comes at least once; k divides by half.

    Args:
        source: samples that there are of the source.
        target: samples that there are of the target.
        half: samples of each in a batch.
        random: decides on the order.
    """
    order = epoch_order(np.repeat([0, 1], [source, target]), 2 * half, random).reshape(-1, 2, half)
    return np.stack([order[:, 0].ravel(), order[:, 1].ravel() - source], axis=1)


def check_apart(source: Mapping[Path, Fingerprint], target: Mapping[Path, Fingerprint]) -> None:
    """Fail where a picture, or a near-duplicate of it, is both source and target.

    Args:
        source: fingerprints of the labelled files.
        target: fingerprints of the unlabelled files.

    Raises:
        AnnotatorError: (USAGE) with the names of the files, of the first few such pairs.
    """
    files = [*source, *target]
    pairs = near_duplicates([*source.values(), *target.values()])
    both = pairs[(pairs[:, 0] < len(source)) & (pairs[:, 1] >= len(source))]
    if len(both):
        named = ", ".join(f"{str(files[own])!r} = {str(files[other])!r}" for own, other in both[:NAMED].tolist())
        more = f" and {len(both) - NAMED} more" if len(both) > NAMED else ""
        raise AnnotatorError(
            f"Source and target share pictures: {named}{more}. Take them out of one of the two.", ExitCode.USAGE
        )


def check_enough(labels: np.ndarray, target: int, half: int) -> None:
    """Fail where there is too little to learn from.

    Args:
        labels: (n,) of the source.
        target: samples that there are of the target.
        half: samples of each domain in a batch.

    Raises:
        AnnotatorError: (USAGE) there is no target, or less than half a batch; the source has one class only.
    """
    if target < half:
        raise AnnotatorError(
            f"{target or 'No'} target pictures: adversarial training takes {half} in each batch. Give at least {half}.",
            ExitCode.USAGE,
        )
    classes = len(np.unique(labels))
    if classes < 2:
        raise AnnotatorError(
            f"The labelled pictures have {classes} class: there is nothing to tell apart. Add pictures of others.",
            ExitCode.USAGE,
        )


def criterion(losses: Mapping[str, float]) -> float:
    """What an epoch is chosen by, the less the better: no label of the target is in it.

    It is the label loss on the source's development samples, and, as a proxy for the target, how far the domain loss on
    development samples of both is below log 2, that of a head which cannot tell them apart. After Ben-David et al.
    2010 the error on the target is bounded by the error on the source and by how well the domains can be told apart.

    Args:
        losses: of `training.loop.train`.
    """
    return losses["val_label_loss"] + max(0.0, math.log(2) - losses["val_domain_loss"])


def compile_network(network: keras.Model, label_loss: Any, rate: float, steps: int) -> None:
    """Make a network of `adversarial_network` ready for `train`'s steps.

    Args:
        network: is changed.
        label_loss: for Keras, of labels and logits; the mean over a batch is taken.
        rate: of learning, at the beginning.
        steps: of the whole training.
    """
    network.compile(
        keras.optimizers.SGD(FallingRate(rate, steps), MOMENTUM),
        {"label": label_loss, "domain": keras.losses.BinaryCrossentropy(from_logits=True)},
        metrics={"domain": [keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)]},
        jit_compile=False,
    )


def train(
    network: keras.Model,
    label_loss: Any,
    source: tuple[Any, np.ndarray, np.ndarray],
    target: Any,
    held_source: tuple[Any, np.ndarray],
    held_target: Any,
    folder: Path,
    *,
    rate: float,
    epochs: int,
    half: int,
    seed: int,
    strength: float = 1.0,
) -> None:
    """Train in place what `adversarial_network` was made of; keep the epoch that `criterion` likes best.

    Stochastic gradient descent with momentum, as in Ganin et al. 2016. The loss is the label loss of the source plus
    the mean of the domain loss over source and target. Progress is kept in ``folder``; `training.loop` tells how.

    Args:
        network: of `adversarial_network`.
        label_loss: for Keras, of labels and logits.
        source: samples (n, ...), labels (n,) and weights (n,); samples here may be any that numpy arrays of positions
            choose from, read when they are needed.
        target: samples (m, ...).
        held_source: samples and labels that are not learnt from.
        held_target: samples that are not learnt from.
        folder: of the run.
        rate: of learning, at the beginning.
        epochs: how many; the schedules run over all of them.
        half: samples of each domain in a batch.
        seed: of everything random.
        strength: that lambda rises to; with 0 the features learn what they would without a domain head.

    Raises:
        AnnotatorError: (USAGE) see `check_enough`; (BAD_MODEL) see `training.loop.train`.
    """
    check_enough(source[1], len(target), half)
    steps = len(pairs_of(len(source[0]), len(target), half, np.random.default_rng(0))) // half
    compile_network(network, label_loss, rate, epochs * steps)

    def batches_of(epoch: int) -> Halves:
        pairs = pairs_of(len(source[0]), len(target), half, np.random.default_rng((seed, epoch)))
        progress = (epoch * steps + np.arange(steps)) / (epochs * steps)
        return Halves(*source, target, pairs, strength * reversal_strength(progress), half)

    count = len(held_source[0])
    held_pairs = np.stack([np.arange(count), np.resize(np.arange(len(held_target)), count)], axis=1)
    ones, zeros = np.ones(count, np.float32), np.zeros(math.ceil(count / half))
    held = Halves(*held_source, ones, held_target, held_pairs, zeros, half)

    def value_of(epoch: int, losses: Mapping[str, float]) -> float:
        return criterion(losses) if reversal_strength(epoch / epochs) >= RISEN else math.inf

    loop.train(network, batches_of, held, folder, epochs=epochs, patience=epochs, seed=seed, criterion=value_of)
