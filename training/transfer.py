"""Classical transfer: stages that each start from the weights of the last (ImageNet, photographs, artworks).

A stage keeps what the model could name before and adds what is new. Mode *head* fits the linear head on features of the
frozen backbone; mode *full* starts from that head (the warm-up) and goes on to train every layer at a tenth of the
usual rate. Batch normalisation always uses, and keeps, the statistics it came with: batches here are too small to
measure new ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import builtin
from annotator.models.backbones import BACKBONES, build_network
from annotator.models.bundle import Configuration, Label, Model
from annotator.models.fused import fused
from training import devices, loop
from training.head import class_weights, fit_head, membership, negative_log_likelihood
from training.samples import SIDE, Sample, load, varied

STRENGTHS = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5)  # of the penalty on the head, the best on the development split is taken
VIEWS = 3  # varied copies of each training crop that mode head sees, beside the crop itself
BATCH = 32  # crops
RATE = 1e-4  # of Adam in mode full; a head alone would be trained at ten times that
PATIENCE = 3  # epochs without gain after which training ends
UNTRAINED_THRESHOLD = 0.5  # of a model whose threshold nothing has chosen yet
UNTRAINED_BOX_SCORE = (1.0, 1.0, 0.0)  # of one that nothing has calibrated yet: both witnesses count alike


def start(backbone: str, weights: str, labels: Sequence[Label]) -> Model:
    """The model that the first stage starts from.

    Args:
        backbone: a key of `BACKBONES`.
        weights: "imagenet", "random", or the path of a weights file of keras.applications (without top).
        labels: what it will name; for a backbone whose ImageNet head we have, besides what that head can name.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL) there is no such backbone; the weights cannot be had or do not fit.
    """
    if backbone not in BACKBONES:
        raise AnnotatorError(f"No backbone {backbone!r}; there are {', '.join(BACKBONES)}.", ExitCode.USAGE)
    if backbone == "efficientnet-lite0" and weights == "imagenet":
        return extended(builtin.load(), labels)
    configuration = Configuration(
        name=backbone,
        backbone=backbone,
        labels=tuple(labels),
        class_labels=(-1, *range(len(labels))),
        temperature=1.0,
        threshold=UNTRAINED_THRESHOLD,
        lineage=("random weights",) if weights == "random" else ("ImageNet-1k",),
    )
    network = build_network(backbone, len(configuration.class_labels))
    load_weights(network, backbone, weights)
    kernel, bias = (np.zeros(weight.shape, np.float32) for weight in network.get_layer("head").weights)
    network.get_layer("head").set_weights([kernel, bias])
    return Model(configuration, network, "")


def load_weights(network: keras.Model, backbone: str, weights: str) -> None:
    """Fill a network of `build_network`, but for its head.

    Args:
        network: as built; unchanged for "random".
        backbone: its key of `BACKBONES`.
        weights: "imagenet", "random", or the path of a weights file of keras.applications (without top).

    Raises:
        AnnotatorError: (BAD_MODEL) the weights cannot be had or do not fit; (USAGE) the network takes no file.
    """
    if weights == "random":
        return
    try:
        BACKBONES[backbone].load_imagenet(network, None if weights == "imagenet" else Path(weights))
    except AnnotatorError:
        raise
    except Exception as error:  # h5py and keras raise many kinds
        raise AnnotatorError(
            f"The weights {weights!r} of {backbone} cannot be had: {str(error).splitlines()[0]}. Take "
            "efficientnet-lite0, whose weights are here, let this machine reach the internet, or, in a shell, give as "
            "--weights the file of keras.applications without top.",
            ExitCode.BAD_MODEL,
        ) from error


def extended(model: Model, labels: Sequence[Label], *, boxes: bool = False) -> Model:
    """The model with a class for each of the labels that it lacks; a new class starts as the mean of all instruments.

    Args:
        model: stays as it is.
        labels: those that must be among its labels.
        boxes: whether the result must have a box head; one that the model lacks starts with random weights.
    """
    old = model.configuration
    new = [label for label in labels if label not in old.labels]
    every = (*old.labels, *new)
    box_score = old.box_score or (UNTRAINED_BOX_SCORE if boxes else None)
    configuration = replace(
        old,
        labels=every,
        class_labels=(*old.class_labels, *range(len(old.labels), len(every))),
        box_score=box_score,
        thresholds=(),
    )
    network = build_network(old.backbone, len(configuration.class_labels), boxes=box_score is not None)
    for layer in model.network.layers:
        if layer.weights and layer.name != "head":
            network.get_layer(layer.name).set_weights(layer.get_weights())
    kernel, bias = model.network.get_layer("head").get_weights()
    known = np.array(old.class_labels) >= 0
    kernel = np.concatenate([kernel, np.repeat(kernel[:, known].mean(axis=1, keepdims=True), len(new), axis=1)], axis=1)
    bias = np.concatenate([bias, np.repeat(bias[known].mean(), len(new))])
    network.get_layer("head").set_weights([kernel, bias])
    return Model(configuration, network, "")


def pooled(network: keras.Model, layer: str) -> keras.Model:
    """A network that averages over all cells: "head" for logits (n, classes), "features" for what the head gets."""
    head = network.get_layer("head")
    tensor = head.input if layer == "features" else head.output
    return keras.Model(network.input, keras.layers.GlobalAveragePooling2D(dtype="float32")(tensor))


def looking(network: keras.Model, layer: str) -> keras.Model:
    """`pooled` as it is now, to look with and not to train: quicker, and prepared once for all that it looks at."""
    return fused(pooled(network, layer))


def features_of(network: keras.Model, samples: Sequence[Sample], views: int, seed: int) -> np.ndarray:
    """Mean features of crops: (views, n, channels) float32; the first view is the crop itself, the others are varied.

    Args:
        network: of `looking`.
        samples: n crops.
        views: 1 or more.
        seed: of the variation.
    """
    return np.stack(
        [
            network.predict(Crops(samples, np.arange(len(samples)), None, seed, view, vary=view > 0), verbose=2)
            for view in range(views)
        ]
    )


class Crops(keras.utils.PyDataset):
    """Batches of crops, read when they are needed: memory does not grow with the collection.

    Args:
        samples: what there is.
        order: (k,) which of them, in which order.
        weights: (n,) of the samples, or None.
        seed: of the variation, with the epoch and the position of the sample.
        epoch: its number.
        vary: whether crops are varied.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        order: np.ndarray,
        weights: np.ndarray | None,
        seed: int,
        epoch: int,
        *,
        vary: bool,
    ) -> None:
        super().__init__(workers=2, max_queue_size=4)
        self.samples, self.order, self.weights, self.seed, self.epoch, self.vary = (
            samples,
            order,
            weights,
            seed,
            epoch,
            vary,
        )

    def __len__(self) -> int:
        return math.ceil(len(self.order) / BATCH)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        chosen = self.order[number * BATCH : (number + 1) * BATCH]
        crops = np.empty((len(chosen), SIDE, SIDE, 3), np.uint8)
        for row, position in zip(crops, chosen, strict=True):
            crop = load(self.samples[position])
            row[...] = (
                varied(crop, np.random.default_rng((self.seed, self.epoch, int(position)))) if self.vary else crop
            )
        targets = np.array([self.samples[position].target for position in chosen])
        return (crops, targets) if self.weights is None else (crops, targets, self.weights[chosen])


def epoch_order(sources: np.ndarray, batch: int, random: np.random.Generator) -> np.ndarray:
    """The order of an epoch: each batch holds as much of one source as of another, small sources come round again.

    Args:
        sources: (n,) the number of each sample's data set.
        batch: samples of a batch.
        random: decides.

    Returns:
        Positions; every sample is there at least once.
    """
    own = [random.permutation(np.flatnonzero(sources == source)) for source in np.unique(sources)]
    if len(own) == 1:
        return own[0]
    shares = [len(share) for share in np.array_split(np.arange(batch), len(own))]
    steps = max(-(-len(positions) // share) for positions, share in zip(own, shares, strict=True))
    columns = [
        np.resize(positions, steps * share).reshape(steps, share) for positions, share in zip(own, shares, strict=True)
    ]
    return np.concatenate(columns, axis=1).ravel()


def train_head(
    model: Model, training: tuple[np.ndarray, np.ndarray], development: tuple[np.ndarray, np.ndarray]
) -> None:
    """Fit the model's head in place; of `STRENGTHS` the one that the development split likes best.

    Args:
        model: its head's weights are changed.
        training: features (n, channels) and targets (n,).
        development: the same of samples that are not learnt from.
    """
    head = model.network.get_layer("head")
    kernel, bias = head.get_weights()
    class_labels = np.array(model.configuration.class_labels)
    weights = class_weights(training[1], len(model.labels)) / len(training[1])
    best = np.inf
    for strength in STRENGTHS:
        fitted = fit_head(*training, class_labels, kernel, bias, strength, weights)
        logits = development[0] @ fitted[0] + fitted[1]
        loss = float(negative_log_likelihood(logits, development[1], class_labels).mean())
        print(f"head: penalty {strength:g}, development loss {loss:.4f}", flush=True)
        if loss < best:
            best = loss
            head.set_weights(fitted)


def label_loss(class_labels: Sequence[int]) -> Any:
    """The loss of mode full: `negative_log_likelihood` for Keras, of targets (n,) and logits (n, classes)."""
    positions = np.array(class_labels)
    rows = np.where(membership(positions, int(positions.max()) + 1), 0.0, -1e9).astype(np.float32)

    def loss(targets: Any, logits: Any) -> Any:
        logits = ops.cast(logits, "float32")
        own = ops.take(ops.convert_to_tensor(rows), ops.cast(ops.reshape(targets, (-1,)), "int32") + 1, axis=0)
        return ops.logsumexp(logits, axis=-1) - ops.logsumexp(logits + own, axis=-1)

    return loss


def train_full(
    model: Model,
    training: Sequence[Sample],
    sources: np.ndarray,
    development: Sequence[Sample],
    folder: Path,
    *,
    seed: int,
    epochs: int,
) -> None:
    """Train all but batch normalisation in place, from the model's head; keep the epoch that development likes best.

    Args:
        model: its weights are changed.
        training: samples.
        sources: (n,) the number of each one's data set: each has the same part in every batch.
        development: samples that are not learnt from.
        folder: where progress is kept, so that a killed training goes on.
        seed: of order and variation.
        epochs: at the most.
    """
    targets = np.array([sample.target for sample in training])
    weights = class_weights(targets, len(model.labels)).astype(np.float32)
    for layer in model.network.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)

    def batches_of(epoch: int) -> Crops:
        order = epoch_order(sources, BATCH, np.random.default_rng((seed, epoch)))
        return Crops(training, order, weights, seed, epoch, vary=True)

    held = Crops(development, np.arange(len(development)), None, seed, 0, vary=False)
    with devices.training_copy(pooled(model.network, "head")) as network:
        network.compile(keras.optimizers.Adam(RATE), label_loss(model.configuration.class_labels), jit_compile=False)
        loop.train(network, batches_of, held, folder, epochs=epochs, patience=PATIENCE, seed=seed)
