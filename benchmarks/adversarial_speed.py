"""What a step of adversarial training costs beside a step of plain training on the same pictures."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np

from annotator.models import builtin
from training import adversarial, devices, transfer
from training.adapt import HALF, WIDTHS, parts_of

ROUNDS = 8


def run() -> dict[str, object]:
    """Ratios of steps on the same 32 pictures, all layers learning; each round times plain, DANN and CDAN in turn."""
    devices.prepare(0)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (2 * HALF, 224, 224, 3), np.uint8)
    targets = random.integers(0, 20, 2 * HALF)
    steps: dict[str, Callable[[], object]] = {"plain": _plain(pictures, targets)}
    steps |= {variant: _adversarial(variant, pictures, targets) for variant in adversarial.VARIANTS}
    for step in steps.values():  # each is compiled once
        step()
    rounds = np.array([[_seconds(step) for step in steps.values()] for _ in range(ROUNDS)])
    result: dict[str, object] = {"plain_seconds": round(float(np.median(rounds[:, 0])), 3)}
    for number, variant in enumerate(adversarial.VARIANTS, start=1):
        ratios = rounds[:, number] / rounds[:, 0]
        result[f"{variant}_over_plain"] = round(float(np.median(ratios)), 3)
        result[f"{variant}_spread"] = [round(float(ratios.min()), 3), round(float(ratios.max()), 3)]
    return result


def _plain(pictures: np.ndarray, targets: np.ndarray) -> Callable[[], object]:
    model = builtin.load()
    parts_of(model)
    network = transfer.pooled(model.network, "head")
    network.compile(_optimizer(), transfer.label_loss(model.configuration.class_labels), jit_compile=False)
    return lambda: network.train_on_batch(pictures, targets)


def _adversarial(variant: str, pictures: np.ndarray, targets: np.ndarray) -> Callable[[], object]:
    model = builtin.load()
    network = adversarial.adversarial_network(*parts_of(model), variant, WIDTHS, seed=0)
    adversarial.compile_network(network, transfer.label_loss(model.configuration.class_labels), 1e-3, 1000)
    pairs = np.stack([np.arange(HALF)] * 2, axis=1)
    ones = np.ones(HALF, np.float32)
    batch = adversarial.Halves(pictures[:HALF], targets[:HALF], ones, pictures[HALF:], pairs, np.ones(1), HALF)[0]
    return lambda: network.train_on_batch(*batch)


def _optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(adversarial.FallingRate(1e-3, 1000), adversarial.MOMENTUM)


def _seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
