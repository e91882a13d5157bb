import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Point

from annotator.detection import extent
from annotator.detection.windows import Level

maps = arrays(np.float32, st.tuples(st.integers(2, 24), st.integers(2, 24)), elements=st.floats(-20, 20, width=32))
spans = st.tuples(st.floats(0, 0.9), st.floats(0.02, 1)).map(lambda span: (span[0], min(1.0, span[0] + span[1])))


def plain_otsu(values):
    """Every split tried, the variance between the two groups by definition."""
    best, threshold = -1.0, values.min()
    for value in np.unique(values)[1:]:
        lower, upper = values[values < value], values[values >= value]
        between = lower.size * upper.size * (lower.mean() - upper.mean()) ** 2
        if between > best * (1 + 1e-9):
            best, threshold = between, value
    return threshold


@given(arrays(np.float64, st.integers(1, 40), elements=st.integers(-9, 9)))
def test_otsu_splits_as_well_as_the_best_split(values):
    def between(threshold):
        lower, upper = values[values < threshold], values[values >= threshold]
        return lower.size * upper.size * (lower.mean() - upper.mean()) ** 2 if lower.size and upper.size else 0.0

    np.testing.assert_allclose(between(extent.otsu_threshold(values)), between(plain_otsu(values)))


@given(maps, spans, spans)
def test_outline_is_always_a_polygon_inside_the_picture(evidence_map, horizontal, vertical):
    box = np.array([horizontal[0], vertical[0], horizontal[1], vertical[1]])
    outline = extent.outline(evidence_map, box)
    assert outline.is_valid
    assert outline.area > 0
    assert np.min(outline.bounds) >= 0
    assert np.max(outline.bounds) <= 1


def test_outline_follows_the_blob_that_the_window_touches():
    y, x = np.mgrid[:96, :96] + 0.5
    disc = np.where((x - 60) ** 2 + (y - 40) ** 2 < 15**2, 3.0, -3.0)
    second = np.where((x - 15) ** 2 + (y - 40) ** 2 < 8**2, 5.0, -3.0)
    outline = extent.outline(np.maximum(disc, second).astype(np.float32), np.array([55, 32, 70, 47]) / 96)
    truth = Point(60, 40).buffer(15)
    found = outline.__class__(np.asarray(outline.exterior.coords) * 96)
    assert found.intersection(truth).area / found.union(truth).area > 0.9


def test_average_evidence_covers_the_picture_without_the_padding():
    values = np.zeros((4, 7, 1), np.float32)
    values[:, :4] = 8.0  # the left 128 of 200 pixels; the last 24 of 224 are padding
    level = Level(np.zeros((4, 7, 2), np.float32), 200, 128)
    found = extent.average_evidence([level, level], [values, values], 1000, 640)
    assert found.shape == (61, 96)
    edge = np.interp(4.0, found[30, ::-1], np.arange(96)[::-1])
    assert abs((edge + 0.5) / 96 - 128 / 200) < 0.01
