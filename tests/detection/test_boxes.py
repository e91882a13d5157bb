import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from annotator.detection.boxes import intersection_over_union


def as_boxes(corners):
    """Any (n, 4) numbers to boxes of at least one pixel."""
    low, size = np.abs(corners[:, :2]), 1 + np.abs(corners[:, 2:])
    return np.concatenate([low, low + size], axis=1)


boxes = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(4)), elements=st.integers(-50, 50)).map(as_boxes)


@given(boxes, boxes)
def test_overlap_equals_shapely(a, b):
    first, second = (shapely.box(*corners.T) for corners in (a, b))
    shared = shapely.area(shapely.intersection(first[:, None], second[None]))
    union = shapely.area(shapely.union(first[:, None], second[None]))
    np.testing.assert_allclose(intersection_over_union(a[:, None], b), shared / union)


def test_empty_boxes_overlap_nothing():
    empty = np.array([[3.0, 3, 3, 9]])
    assert intersection_over_union(empty, np.array([[0.0, 0, 10, 10]])).item() == 0
    assert intersection_over_union(empty, empty).item() == 0
