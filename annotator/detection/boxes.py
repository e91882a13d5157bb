"""Geometry of axis-aligned boxes: (n, 4) arrays of x0, y0, x1, y1, half-open, in any one frame of pixels."""

from __future__ import annotations

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """Area of each box, in square pixels: (..., 4) to (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area that two boxes share, for arrays (..., 4) that broadcast; ``a[:, None]`` gives all pairs."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    return np.prod(np.clip(high - low, 0, None), axis=-1)


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) that broadcast as in `intersection`, 0 where both are empty."""
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
