import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shapely.geometry import Point, Polygon

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
def test_outline_is_always_a_polygon_inside_the_picture(activation, horizontal, vertical):
    box = np.array([horizontal[0], vertical[0], horizontal[1], vertical[1]])
    outline = extent.outline(activation, box)
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


def test_something_stronger_beside_the_window_does_not_shrink_the_outline():
    y, x = np.mgrid[:96, :96]
    hill = np.exp(-((x - 30) ** 2 + (y - 48) ** 2) / 200)
    stronger = 6 * np.exp(-((x - 62) ** 2 + (y - 48) ** 2) / 60)
    found = extent.outline((hill + stronger).astype(np.float32), np.array([20, 38, 45, 58]) / 96)
    assert found.area * 96**2 > 100
    assert found.contains(Point(30.5 / 96, 48.5 / 96))


def test_activation_maps_cover_the_picture_without_the_padding():
    logits = np.zeros((4, 7, 2), np.float32)
    logits[:, :4, 0] = 8.0  # the left 128 of 200 pixels; the last 24 of 224 are padding
    level = Level(logits, 200, 128)
    maps = extent.activation_maps([extent.activation(level, np.array([0, -1]))] * 2, 1000, 640)
    assert maps.shape == (2, 61, 96)
    np.testing.assert_allclose([maps.min(), maps.max()], [0, 4])  # 8 - (8 + 0) / 2
    edge = np.interp(2.0, maps[0, 30, ::-1], np.arange(96)[::-1])
    assert abs((edge + 0.5) / 96 - 128 / 200) < 0.01


def test_activation_does_not_fall_beside_another_object():
    alone, beside = np.zeros((1, 1, 1000), np.float32), np.zeros((1, 1, 1000), np.float32)
    alone[..., 0] = beside[..., 0] = 10.0
    beside[..., 1] = 12.0
    labels = np.array([0] + [-1] * 999)
    found = [extent.activation(Level(logits, 32, 32), labels).values for logits in (alone, beside)]
    np.testing.assert_allclose(*found, atol=0.02)


def test_the_level_where_a_window_is_as_large_as_a_training_picture_weighs_most():
    levels = [Level(np.zeros((1, 1, 2)), side, side) for side in (1792, 896, 448, 224)]
    boxes = np.array([[0, 0, 1, 1], [0.5, 0.5, 0.625, 0.625], [0, 0, 1, 0.25]])
    weights = extent.scale_weights(levels, boxes)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal(weights.argmax(axis=1), [3, 0, 2])
    # one octave from the best level: the Gaussian's value at 1 / 0.75 standard deviations
    np.testing.assert_allclose(weights[0, 2] / weights[0, 3], np.exp(-0.5 / 0.75**2))


@given(maps, spans, spans, spans, spans)
def test_a_stretched_outline_is_bounded_by_its_box(activation, horizontal, vertical, other_horizontal, other_vertical):
    outline = extent.outline(activation, np.array([horizontal[0], vertical[0], horizontal[1], vertical[1]]))
    box = np.array([other_horizontal[0], other_vertical[0], other_horizontal[1], other_vertical[1]])
    stretched = extent.stretched(outline, box)
    assert stretched.is_valid
    np.testing.assert_allclose(stretched.bounds, box, atol=1e-9)


def level_that_says(by_label, side=224):
    """A level of one picture whose cells speak for labels as told, (rows, columns, labels)."""
    values = by_label.max(axis=2).astype(np.float32)
    return extent.Activation(values, by_label.astype(np.float16), side, side)


def test_a_label_is_worth_the_sum_of_its_classes():
    logits = np.random.default_rng(0).normal(0, 5, (3, 4, 6)).astype(np.float32)
    class_labels = np.array([1, -1, 0, 1, -1, 2])
    found = extent.activation(Level(logits, 128, 96), class_labels)
    exponentials = np.exp(logits.astype(float))
    expected = np.stack([exponentials[..., class_labels == label].sum(axis=-1) for label in range(3)], axis=-1)
    np.testing.assert_allclose(found.by_label, np.log(expected), atol=0.02)
    np.testing.assert_allclose(found.values, np.log(expected.sum(axis=-1)) - logits.mean(axis=-1), atol=1e-4)


def test_the_inside_names_an_instrument_not_what_is_beside_it():
    by_label = np.zeros((7, 7, 3))
    by_label[:, :, 1] = 9.0  # a player's other instrument all around, and stronger
    rows, columns = np.mgrid[:7, :7]
    by_label[abs(rows - columns) <= 1] = [0, 0, 5]  # an instrument held aslant
    aslant = Polygon([(0, 0), (0.2, 0), (1, 0.8), (1, 1), (0.8, 1), (0, 0.2)])
    beside = Polygon([(0.6, 0), (1, 0), (1, 0.4)])
    found = extent.labels_inside([level_that_says(by_label)], [aslant, beside])
    assert found.tolist() == [2, 1]


def test_the_levels_that_know_an_instruments_size_name_it():
    small, large = np.zeros((7, 7, 2)), np.zeros((28, 28, 2))
    small[..., 0] = large[..., 1] = 4.0
    levels = [level_that_says(large, 896), level_that_says(small, 224)]
    whole, quarter = Polygon([(0, 0), (1, 0), (1, 1), (0, 1)]), Polygon([(0, 0), (0.25, 0), (0.25, 0.25), (0, 0.25)])
    assert extent.labels_inside(levels, [whole, quarter]).tolist() == [0, 1]
    assert extent.labels_inside(levels, []).tolist() == []


def test_an_outline_that_rounding_puts_beyond_the_border_is_named():
    level = level_that_says(np.eye(2)[np.repeat([[0] * 6 + [1]], 7, axis=0)])
    beyond = np.nextafter(1.0, 2)
    outlines = [Polygon([(0.9, 0), (beyond, 0), (beyond, 1)]), Polygon([(0, 0.5), (0.5, beyond), (0, beyond)])]
    assert extent.labels_inside([level], outlines).tolist() == [1, 0]


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 300), st.floats(0, 0.3))
def test_an_outline_of_any_size_is_named_by_a_cell_that_it_touches(seed, width, height, size):
    """Also one without any area, at the border, and on a level smaller than a cell."""
    random = np.random.default_rng(seed)
    rows, columns = -(-height // 32), -(-width // 32)
    by_label = np.eye(rows * columns).reshape(rows, columns, -1)  # each cell has its own label
    level = extent.Activation(np.zeros((rows, columns), np.float32), by_label.astype(np.float16), width, height)
    corner = random.uniform(0, 1, 2)
    corners = np.clip(corner + random.uniform(0, size, (3, 2)), 0, 1)
    (found,) = extent.labels_inside([level], [Polygon(corners)])
    low, high = corners.min(axis=0) * [width, height] / 32, corners.max(axis=0) * [width, height] / 32
    assert low[0] - 1 <= found % columns <= high[0]
    assert low[1] - 1 <= found // columns <= high[1]


def test_an_outline_lies_on_its_instrument_not_half_a_cell_beside_it():
    y, x = np.mgrid[:96, :96] + 0.5
    hill = -np.hypot(x - 60, y - 40).astype(np.float32)
    middle = extent.outline(hill, np.array([55, 35, 65, 45]) / 96).centroid
    np.testing.assert_allclose([middle.x * 96, middle.y * 96], [60, 40], atol=0.1)


def test_the_inside_names_an_instrument_wherever_it_lies():
    by_label = np.zeros((14, 14, 3))
    by_label[:, :, 1] = 9.0
    rows, columns = np.mgrid[:14, :14]
    by_label[abs(rows - columns + 7) <= 1] = [0, 0, 5]  # in the upper right quarter
    aslant = Polygon([(0.5, 0), (0.6, 0), (1, 0.4), (1, 0.5), (0.9, 0.5), (0.5, 0.1)])
    assert extent.labels_inside([level_that_says(by_label, 448)], [aslant]).tolist() == [2]


def test_the_outline_of_a_small_instrument_in_a_large_image_is_as_fine_as_of_a_large_one():
    y, x = np.mgrid[:32, :224] + 0.5
    disc = np.where((x - 150) ** 2 + (y - 16) ** 2 < 3.5**2, 4.0, -4.0).astype(np.float32)
    level = extent.Activation(disc, disc[..., None].astype(np.float16), 7168, 1024)
    box = np.array([[147 / 224, 13 / 32, 153 / 224, 19 / 32]])
    (found,) = extent.outlines([level], box, np.array([0]), 7168, 1024)
    found = Polygon(np.asarray(found.exterior.coords) * [224, 32])
    truth = Point(150, 16).buffer(3.5)
    assert found.intersection(truth).area / found.union(truth).area > 0.75
