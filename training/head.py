"""Fit a linear head on features that were computed once: minutes on a CPU, close to full fine-tuning (Mormont 2018)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

MAXIMUM_STEPS = 200  # of L-BFGS, which mostly ends before


def class_weights(targets: np.ndarray, labels: int) -> np.ndarray:
    """(n,) weights N / (n_c K), so that every label that occurs counts the same; K is how many do, N their sum.

    Args:
        targets: (n,) label of each sample, -1 for "no instrument".
        labels: how many labels there are.
    """
    counts = np.bincount(targets + 1, minlength=labels + 1)
    return (len(targets) / (counts * np.count_nonzero(counts)).clip(1))[targets + 1]


def membership(class_labels: np.ndarray, labels: int) -> np.ndarray:
    """(labels + 1, classes) bool: which classes mean a label; the first row is "no instrument", so row target + 1."""
    return class_labels[None] == np.arange(-1, labels)[:, None]


def negative_log_likelihood(logits: np.ndarray, targets: np.ndarray, class_labels: np.ndarray) -> np.ndarray:
    """(n,) -log P(label): a label's probability is the sum over its classes.

    Args:
        logits: (n, classes).
        targets: (n,) labels, -1 for "no instrument".
        class_labels: (classes,) the label of each class.
    """
    own = np.where(class_labels[None] == targets[:, None], logits, -np.inf)
    return logsumexp(logits, axis=1) - logsumexp(own, axis=1)


def fit_head(
    features: np.ndarray,
    targets: np.ndarray,
    class_labels: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    strength: float,
    weights: np.ndarray,
    shared: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The linear head with the least weighted loss plus a penalty for leaving where it starts (L-BFGS).

    The loss is the weighted sum of `negative_log_likelihood`; the penalty is strength / 2 times the squared distance
    from the given kernel, so what the data do not speak of stays as it was: what the head knew about other things is
    its prior. Classes of "no instrument" do not move: samples that show none push the instruments away.

    With ``shared`` all classes that move go a part of their way together, under a penalty of its own (Evgeniou & Pontil
    2004): what tells instruments of these pictures from what shows none is learnt once, also for those of which there
    is no sample, and does not put those with samples before them.

    Args:
        features: (n, channels) float32.
        targets: (n,) labels, -1 for "no instrument".
        class_labels: (classes,) the label of each class.
        kernel: (channels, classes) where to start.
        bias: (classes,) where to start.
        strength: of the penalty, above 0.
        weights: (n,) of the samples, they add up to 1.
        shared: strength of the penalty on what all classes have in common; None: they have nothing.

    Returns:
        Kernel and bias, float32.
    """
    free = class_labels >= 0
    extended = np.concatenate([features, np.ones((len(features), 1), features.dtype)], axis=1)
    start = np.concatenate([kernel, bias[None]]).astype(np.float32)
    # Classes that do not move are all "no instrument", so they are one.
    fixed = logsumexp(extended @ start[:, ~free], axis=1, keepdims=True)
    labels = np.concatenate([[-1], class_labels[free]])
    own = labels[None] == targets[:, None]

    spread, strengths = np.eye(free.sum(), dtype=np.float32), np.full(free.sum(), strength, np.float32)
    if shared is not None:
        spread, strengths = (
            np.append(spread, np.ones_like(spread[:1]), axis=0),
            np.append(strengths, np.float32(shared)),
        )

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parts = flat.reshape(len(start), -1).astype(np.float32)
        offset = parts @ spread
        logits = np.concatenate([fixed, extended @ (start[:, free] + offset)], axis=1)
        own_logits = np.where(own, logits, -np.inf)
        value = weights @ (logsumexp(logits, axis=1) - logsumexp(own_logits, axis=1))
        slopes = (softmax(logits, axis=1) - softmax(own_logits, axis=1))[:, 1:] * weights[:, None]
        gradient = extended.T @ slopes.astype(np.float32) @ spread.T + strengths * parts
        penalty = (strengths * parts.astype(np.float64) ** 2).sum() / 2
        return float(value + penalty), gradient.ravel().astype(np.float64)

    found = minimize(
        loss, np.zeros(len(start) * len(spread)), jac=True, method="L-BFGS-B", options={"maxiter": MAXIMUM_STEPS}
    )
    result = start.copy()
    result[:, free] += found.x.reshape(len(start), -1).astype(np.float32) @ spread
    return result[:-1], result[-1]
