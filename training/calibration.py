"""Make probabilities mean what they say: temperature scaling, and how far off they are."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from training.head import negative_log_likelihood

BINS = 15


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


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over equally wide bins, weighted by size (Guo et al. 2017, equation 3).

    Args:
        confidences: (n,) in [0, 1].
        right: (n,) bool.
        bins: how many; a confidence on a border belongs to the lower bin.
    """
    place = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=confidences, minlength=bins) - np.bincount(place, weights=right, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(confidences)))
