"""Make probabilities mean what they say: temperature scaling, and how far off they are."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from training.head import negative_log_likelihood

BINS = 15  # as Guo et al. 2017


def fit_temperature(logits: np.ndarray, targets: np.ndarray, class_labels: np.ndarray) -> float:
    """The temperature in [0.05, 20] with the least negative log-likelihood (Guo et al. 2017, section 4.2).

    Args:
        logits: (n, classes) of samples that the network was not trained on, not yet divided by any temperature.
        targets: (n,) labels, -1 for "no instrument".
        class_labels: (classes,) the label of each class.
    """

    def loss(logarithm: float) -> float:
        return float(negative_log_likelihood(logits / np.exp(logarithm), targets, class_labels).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def bin_of(confidences: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(n,) int, in which of equally wide bins of [0, 1] each confidence lies; on a border, in the lower one."""
    return np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over equally wide bins, weighted by size (Guo et al. 2017, equation 3).

    Args:
        confidences: (n,) in [0, 1].
        right: (n,) bool.
        bins: how many, see `bin_of`.
    """
    place = bin_of(confidences, bins)
    gaps = np.bincount(place, weights=confidences, minlength=bins) - np.bincount(place, weights=right, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(confidences)))


def fit_box_score(witnesses: np.ndarray, right: np.ndarray) -> tuple[float, ...]:
    """Weights of a logistic regression, none of them negative: a witness for an instrument never counts against it.

    Args:
        witnesses: (n, k) what speaks for each detection, the more the higher.
        right: (n,) bool.

    Returns:
        k weights and a constant: the probability is the logistic function of their sum (Platt 1999).
    """
    extended = np.concatenate([witnesses, np.ones((len(witnesses), 1))], axis=1)
    signs = np.where(right, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (extended @ weights)
        slopes = -signs * expit(-margins)
        penalty = 1e-3 * weights[:-1]  # keeps weights finite where right and wrong are apart
        gradient = extended.T @ slopes / len(right)
        gradient[:-1] += penalty
        return float(np.logaddexp(0, -margins).mean() + (penalty * weights[:-1]).sum() / 2), gradient

    count = witnesses.shape[1]
    bounds = [(0, None)] * count + [(None, None)]
    found = minimize(loss, np.r_[np.ones(count), 0.0], jac=True, method="L-BFGS-B", bounds=bounds)
    return tuple(round(float(value), 6) for value in found.x)


def threshold_for(scores: np.ndarray, right: np.ndarray, precision: float) -> float:
    """The lowest score from which detections are right as often as asked; 1 where no score does.

    Args:
        scores: (n,) in [0, 1].
        right: (n,) bool.
        precision: least share of right ones among those that score as much or more.
    """
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(_last_of_equals(scores[order]) & (share >= precision))
    return float(scores[order][enough[-1]]) if len(enough) else 1.0


def _last_of_equals(ordered: np.ndarray) -> np.ndarray:
    """Where a threshold can be in falling scores (n,): of equal ones all are shown or none. (n,) bool."""
    return np.append(ordered[:-1] > ordered[1:], True)[: len(ordered)]


def threshold_expected(scores: np.ndarray, precision: float) -> float:
    """The lowest score from which detections are expected to be right as often as asked; the highest where none does.

    Smoother than `threshold_for`: with the few detections that a small project has, the share that was right hangs on
    single ones.

    Args:
        scores: (n,) the probability that each detection is right; n at least 1.
        precision: least mean of the scores that are as high or higher.
    """
    ordered = -np.sort(-scores)
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    enough = np.flatnonzero(_last_of_equals(ordered) & (means >= precision))
    return float(ordered[enough[-1] if len(enough) else 0])
