"""Geometry of axis-aligned boxes: (n, 4) arrays of x0, y0, x1, y1, half-open, in any one frame of pixels."""

from __future__ import annotations

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """Area of each box, in square pixels: (n,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area that each of n boxes shares with each of m boxes: (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.prod(np.clip(high - low, 0, None), axis=2)


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each of n boxes with each of m boxes: (n, m), 0 where both are empty."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def intersection_over_smaller(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared area over the smaller box's area: (n, m); 1 where one lies inside the other."""
    shared = intersection(a, b)
    smaller = np.minimum(area(a)[:, None], area(b)[None, :])
    return np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0)
