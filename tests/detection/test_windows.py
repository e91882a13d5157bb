import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.detection import windows

CLASS_LABELS = np.array([-1, 0, 1, -1, 0])


def random_level(rows, columns, seed=0):
    logits = np.random.default_rng(seed).normal(size=(rows, columns, 5)).astype(np.float32)
    return windows.Level(logits, columns * 32, rows * 32)


def test_evidence_is_the_log_odds_of_the_softmax():
    logits = random_level(3, 4).logits
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    nothing = shares[..., 0] + shares[..., 3]
    expected = np.log(np.stack([shares[..., 1] + shares[..., 4], shares[..., 2]], axis=-1) / nothing[..., None])
    np.testing.assert_allclose(windows.log_odds(logits, CLASS_LABELS), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(1, 16), st.integers(1, 16))
def test_windows_are_all_positions_of_all_shapes(rows, columns):
    expected = set()
    for height, width in windows.SHAPES:
        h, w = min(height, rows), min(width, columns)
        expected |= {(x, y, x + w, y + h) for y in range(rows - h + 1) for x in range(columns - w + 1)}
    found = [tuple(cells) for cells in windows.window_cells(rows, columns).tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_window_means_equal_plain_means():
    values = np.random.default_rng(1).normal(size=(9, 13, 2))
    cells = windows.window_cells(9, 13)
    plain = [values[y0:y1, x0:x1].mean(axis=(0, 1)) for x0, y0, x1, y1 in cells]
    np.testing.assert_allclose(windows.window_means(windows.integral_image(values), cells), plain)


def test_scores_are_the_softmax_of_each_windows_mean_logits():
    levels = [random_level(6, 8), random_level(9, 12, seed=1)]
    scored = windows.score_windows(levels, CLASS_LABELS)
    expected = {}
    for level in levels:
        rows, columns = level.logits.shape[:2]
        for x0, y0, x1, y1 in windows.window_cells(rows, columns):
            odds = np.exp(level.logits[y0:y1, x0:x1].mean(axis=(0, 1)))
            share = odds / odds.sum()
            expected[x0 / columns, y0 / rows, x1 / columns, y1 / rows, rows] = (share[1] + share[4], share[2])
    assert len(scored.boxes) == len(expected)  # fewer than CANDIDATES, so none may be lost
    for level, cells, found in zip(scored.levels, scored.cells, scored.probabilities, strict=True):
        rows, columns = levels[level].logits.shape[:2]
        x0, y0, x1, y1 = cells
        share = expected[x0 / columns, y0 / rows, x1 / columns, y1 / rows, rows]
        np.testing.assert_allclose(found, share, atol=1e-5)
    for box, found in zip(scored.boxes, scored.probabilities, strict=True):
        candidates = [value for key, value in expected.items() if np.allclose(key[:4], box)]
        assert any(np.allclose(value, found, atol=1e-5) for value in candidates)


def test_only_the_strongest_windows_are_scored(monkeypatch):
    monkeypatch.setattr(windows, "CANDIDATES", 3)
    level = random_level(8, 8)
    level.logits[2:7, 2:7, 2] += 20  # one place with a clear instrument of label 1
    scored = windows.score_windows([level], CLASS_LABELS)
    assert len(scored.boxes) == 3
    assert (scored.probabilities[:, 1] > 0.9).all()
    np.testing.assert_allclose(scored.boxes.mean(axis=0), [2.2 / 8, 2.2 / 8, 6.8 / 8, 6.8 / 8], atol=0.2)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3000))
def test_a_level_in_parts_scores_as_the_whole(rows, columns, part_rows, part_columns, candidates):
    """Parts of ever other sizes, each with as many cells of the earlier ones as a window may need."""
    whole = random_level(rows, columns)
    shared = windows.WIDEST - 1
    parts = [
        windows.Level(
            whole.logits[max(0, top - shared) : top + part_rows, max(0, left - shared) : left + part_columns],
            whole.width,
            whole.height,
            left=max(0, left - shared),
            top=max(0, top - shared),
            known_columns=min(left, shared),
            known_rows=min(top, shared),
        )
        for left in range(0, columns, part_columns)
        for top in range(0, rows, part_rows)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "CANDIDATES", candidates)
        expected = windows.score_windows([whole], CLASS_LABELS)
        found = windows.score_parts(iter(parts), CLASS_LABELS)
    order, other = (np.lexsort(one.cells.T) for one in (expected, found))
    np.testing.assert_array_equal(found.cells[other], expected.cells[order])
    np.testing.assert_allclose(found.boxes[other], expected.boxes[order])
    np.testing.assert_allclose(found.probabilities[other], expected.probabilities[order], atol=1e-6)


@pytest.mark.parametrize("padding", [0, 20])
def test_boxes_end_at_the_picture_not_at_its_padding(padding):
    logits = random_level(4, 4).logits
    level = windows.Level(logits, 128 - padding, 128)
    scored = windows.score_windows([level], CLASS_LABELS)
    assert scored.boxes.min() >= 0
    assert scored.boxes.max() == 1
