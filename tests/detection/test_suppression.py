import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box as shapely_box

from annotator.detection import suppression
from annotator.detection.suppression import suppress


def plain_suppress(boxes, labels, scores, same_label, other_label, inside):
    """The definition, box by box, with shapely's areas."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        shape = shapely_box(*boxes[i])
        for j in kept:
            other = shapely_box(*boxes[j])
            shared = shape.intersection(other).area
            alike = labels[i] == labels[j]
            too_much = shared / shape.union(other).area > (same_label if alike else other_label)
            if too_much or (alike and shared / min(shape.area, other.area) > inside):
                break
        else:
            kept.append(i)
    return kept


@given(st.integers(0, 120), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.sampled_from([20, 60]))
@settings(deadline=None)
def test_equals_the_plain_version(n, seed, limit, spread):
    random = np.random.default_rng(seed)
    low = random.integers(0, spread, (n, 2))
    boxes = np.concatenate([low, low + random.integers(1, 20, (n, 2))], axis=1).astype(float)
    labels, scores = random.integers(0, 3, n), random.integers(0, 8, n) / 8  # ties on purpose
    kept = suppress(boxes, labels, scores, same_label=limit, other_label=0.6, inside=0.8)
    plain = plain_suppress(boxes, labels, scores, limit, 0.6, 0.8)
    assert kept.tolist() == plain


def test_two_instruments_on_one_spot_both_stay():
    boxes = np.array([[0.0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10]])
    kept = suppress(boxes, np.array([0, 0, 1]), np.array([0.9, 0.8, 0.7]), same_label=0.3, other_label=1.0)
    assert kept.tolist() == [0, 2]


def test_many_that_overlap_are_compared_some_at_a_time(monkeypatch):
    monkeypatch.setattr(suppression, "PAIRS", 7)
    random = np.random.default_rng(0)
    low = random.integers(0, 30, (300, 2))
    boxes = np.concatenate([low, low + random.integers(1, 20, (300, 2))], axis=1).astype(float)
    labels, scores = random.integers(0, 3, 300), random.random(300)
    kept = suppress(boxes, labels, scores, same_label=0.4, other_label=0.6, inside=0.8)
    assert kept.tolist() == plain_suppress(boxes, labels, scores, 0.4, 0.6, 0.8)
